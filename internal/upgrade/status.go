package upgrade

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// tellUpgraded says how far the clusters are, before any other is told.
func (p *pass) tellUpgraded() {
	tell := func(status metav1.ConditionStatus, reason, message string) {
		p.set(v1alpha1.ConditionUpgraded, status, reason, message)
	}
	failed, changing, waiting := p.at(v1alpha1.StepFailed), p.at(v1alpha1.StepChanging), p.at(v1alpha1.StepWaiting)
	switch {
	case len(failed) > 0:
		tell(metav1.ConditionFalse, v1alpha1.ReasonUpgradeFailed, fmt.Sprintf("failed: %s", some(failed)))
	case len(changing) > 0:
		tell(metav1.ConditionFalse, v1alpha1.ReasonUpgrading, fmt.Sprintf("wave %d: %s", p.status.Wave, some(changing)))
	case len(waiting) > 0:
		tell(metav1.ConditionFalse, v1alpha1.ReasonUpgrading, fmt.Sprintf("clusters that wait for their turn: %d", len(waiting)))
	default:
		message := fmt.Sprintf("%d of %s %s %s", p.done, v1alpha1.Counted(len(p.seen.Clusters), "cluster"), v1alpha1.Agreeing(p.done, "runs", "run"), p.spec.Build)
		if n := len(p.at(v1alpha1.StepOffline)); n > 0 {
			message += fmt.Sprintf("; offline, to catch up when they are back: %d", n)
		}
		if n := len(p.at(v1alpha1.StepLeftOut)); n > 0 {
			message += fmt.Sprintf("; left out: %d", n)
		}
		tell(metav1.ConditionTrue, v1alpha1.ReasonUpgradeDone, message)
	}
}

// order of the steps in the status: what asks for a person comes first.
var order = []v1alpha1.UpgradeStep{
	v1alpha1.StepFailed, v1alpha1.StepChanging, v1alpha1.StepLeftOut, v1alpha1.StepOffline, v1alpha1.StepWaiting,
}

// count writes how many clusters stand where, and lists those that are not done.
func (p *pass) count() {
	p.status.Selected, p.status.Done = int32(len(p.seen.Clusters)), int32(p.done)
	counts := map[v1alpha1.UpgradeStep]int32{}
	var listed []v1alpha1.ClusterUpgrade
	for _, s := range p.stands {
		counts[s.Step]++
		listed = append(listed, s.ClusterUpgrade)
	}
	p.status.Changing, p.status.Waiting = counts[v1alpha1.StepChanging], counts[v1alpha1.StepWaiting]
	p.status.Offline, p.status.Failed, p.status.LeftOut = counts[v1alpha1.StepOffline], counts[v1alpha1.StepFailed], counts[v1alpha1.StepLeftOut]
	slices.SortStableFunc(listed, func(a, b v1alpha1.ClusterUpgrade) int {
		return cmp.Compare(slices.Index(order, a.Step), slices.Index(order, b.Step))
	})
	p.status.Clusters = listed[:min(len(listed), maxListed)]
}

// some names the first few clusters of a list and counts the others.
func some(list []stand) string {
	const most = 3
	var names []string
	for _, s := range list[:min(len(list), most)] {
		names = append(names, string(s.Name))
	}
	text := strings.Join(names, ", ")
	if len(list) > most {
		text += fmt.Sprintf(" and %d more", len(list)-most)
	}
	return text
}

var release = regexp.MustCompile(`^v(\d+)\.(\d+)\.\d+`)

// tooFar says, in a sentence, that hub and build are more than one minor version apart. Versions that are no releases are
// compared by their protocol alone, when they meet.
func tooFar(hub, build string) string {
	h, b := release.FindStringSubmatch(hub), release.FindStringSubmatch(build)
	if h == nil || b == nil {
		return ""
	}
	if h[1] == b[1] {
		hubMinor, _ := strconv.Atoi(h[2]) // it is made of digits
		agentMinor, _ := strconv.Atoi(b[2])
		if apart := agentMinor - hubMinor; -1 <= apart && apart <= 1 {
			return ""
		} else if apart > 1 {
			return fmt.Sprintf("the hub is %s, and %s is more than one minor version ahead: upgrade the hub first", hub, build)
		}
	}
	return fmt.Sprintf("the hub is %s, and %s is more than one minor version from it: name a build that is nearer to the hub", hub, build)
}
