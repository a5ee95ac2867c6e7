package upgrade

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// returnWithin is how long an agent that was told may be out of session before it counts as lost. Its guard has given
	// up on the new program and brought back the old one by then (package upgrade/self).
	returnWithin = 5 * time.Minute
	// wordWithin is how long one that was told and is in session may say nothing of it: what it is told arrives at once, and
	// from then on it says how it fares.
	wordWithin = 5 * time.Minute
	// maxListed is how many clusters the status names.
	maxListed = 100
)

// Seen is what Next looks at.
type Seen struct {
	// Clusters are the selected members.
	Clusters []v1alpha1.MemberCluster
	// Repository is where the hub's images of the agent are, as members pull them: HOST:PORT/umbel/agent. Empty while the hub
	// has not said so, and when it is not Wanted.
	Repository string
	// HubVersion is the version of the hub.
	HubVersion string
}

// Order is a change of a cluster's spec.agent.
type Order struct {
	Cluster v1alpha1.ClusterName
	// Program is what the agent is to run; nil takes back what was asked for.
	Program *v1alpha1.AgentProgram
}

// Decision is what Next comes to.
type Decision struct {
	// Orders are in the order of the names of their clusters.
	Orders []Order
	// Status is how far the upgrade is once they are given. Ready is not in its conditions yet.
	Status v1alpha1.AgentUpgradeStatus
	// Again is when to look again; zero means when something happens.
	Again time.Duration
}

// Selected returns those of the members that an upgrade is about: selected, in the fleet, and not leaving it.
func Selected(spec v1alpha1.AgentUpgradeSpec, members []v1alpha1.MemberCluster) ([]v1alpha1.MemberCluster, error) {
	selector, err := metav1.LabelSelectorAsSelector(&spec.ClusterSelector)
	if err != nil {
		return nil, fmt.Errorf("spec.clusterSelector: %w", err)
	}
	var selected []v1alpha1.MemberCluster
	for _, m := range members {
		in := m.Spec.Admission != v1alpha1.AdmissionPending && m.Spec.Admission != v1alpha1.AdmissionDenied
		if in && m.DeletionTimestamp.IsZero() && selector.Matches(labels.Set(m.Labels)) {
			selected = append(selected, m)
		}
	}
	return selected, nil
}

// Wanted says whether Next has to know where the hub's images are: while there is somebody who may be told.
func Wanted(upgrade *v1alpha1.AgentUpgrade, clusters []v1alpha1.MemberCluster) bool {
	p := &pass{spec: upgrade.Spec}
	return p.spec.Intent != v1alpha1.UpgradeAbort && slices.ContainsFunc(clusters, func(m v1alpha1.MemberCluster) bool {
		return !p.asked(m.Spec.Agent) && !p.runs(&m)
	})
}

// Next decides what an upgrade does now.
func Next(upgrade *v1alpha1.AgentUpgrade, seen Seen, now time.Time) Decision {
	p := &pass{spec: upgrade.Spec, seen: seen, now: now, status: *upgrade.Status.DeepCopy()}
	p.status.ObservedGeneration = upgrade.Generation
	p.sort()
	p.tellUpgraded()
	orders, again := p.advance()
	p.count()
	return Decision{Orders: orders, Status: p.status, Again: again}
}

// pass is one run of Next.
type pass struct {
	spec   v1alpha1.AgentUpgradeSpec
	seen   Seen
	now    time.Time
	status v1alpha1.AgentUpgradeStatus

	stands  []stand // of every cluster that is not done
	done    int
	settled time.Time     // when the last of those that were told got done
	told    int           // how many were told, done or not
	overdue time.Duration // until the next that is out, or says nothing, counts as lost
}

// stand is where one cluster stands.
type stand struct {
	v1alpha1.ClusterUpgrade
	member *v1alpha1.MemberCluster
}

func (p *pass) sort() {
	clusters := make([]*v1alpha1.MemberCluster, len(p.seen.Clusters))
	for i := range clusters {
		clusters[i] = &p.seen.Clusters[i]
	}
	slices.SortFunc(clusters, func(a, b *v1alpha1.MemberCluster) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range clusters {
		told := p.asked(m.Spec.Agent)
		if told {
			p.told++
		}
		if p.runs(m) && connected(m) {
			p.done++
			if told && m.Status.Agent.Since.After(p.settled) {
				p.settled = m.Status.Agent.Since.Time
			}
			continue
		}
		step, message := p.step(m, told)
		p.stands = append(p.stands, stand{v1alpha1.ClusterUpgrade{Name: v1alpha1.ClusterName(m.Name), Step: step, Message: message}, m})
	}
}

// runs says whether a cluster's agent said, when it was heard last, that it runs the build.
func (p *pass) runs(m *v1alpha1.MemberCluster) bool {
	return m.Status.Agent != nil && v1alpha1.SameProgram(m.Status.Agent.Build, p.spec.Build)
}

// asked says whether a program is what the spec asks for, in this attempt.
func (p *pass) asked(program *v1alpha1.AgentProgram) bool {
	return program != nil && program.Build == p.spec.Build && program.Attempt == p.spec.Attempt
}

// step says where a cluster stands that is not done.
func (p *pass) step(m *v1alpha1.MemberCluster, told bool) (v1alpha1.UpgradeStep, string) {
	if !told {
		switch {
		case m.Status.Agent == nil && m.Status.AgentVersion != "":
			return v1alpha1.StepLeftOut, fmt.Sprintf("its agent %s is too old to upgrade itself: run `umbel join %s` again", m.Status.AgentVersion, m.Name)
		case m.Status.Agent != nil && p.seen.Repository != "" && p.imageFor(m) == "":
			return v1alpha1.StepLeftOut, fmt.Sprintf("its agent's image %s is not the hub's: name one in spec.image (--image)", m.Status.Agent.Image)
		case !connected(m) && !tooOld(m):
			return v1alpha1.StepOffline, "it is not connected; its turn comes when it is back"
		}
		return v1alpha1.StepWaiting, ""
	}
	if m.Status.Agent != nil && m.Status.Agent.Upgrade != nil {
		u := m.Status.Agent.Upgrade
		mine := v1alpha1.SameProgram(u.Build, p.spec.Build) && u.Attempt == p.spec.Attempt
		if mine && (u.Phase == v1alpha1.UpgradeFailed || u.Phase == v1alpha1.UpgradeRolledBack) {
			return v1alpha1.StepFailed, fmt.Sprintf("%s: %s", u.Phase, u.Message)
		}
		if mine && connected(m) {
			return v1alpha1.StepChanging, fmt.Sprintf("%s: %s", u.Phase, u.Message)
		}
	}
	switch {
	case m.Spec.Admission == v1alpha1.AdmissionSuspended:
		return v1alpha1.StepOffline, "it is suspended; it goes on when it is let in again"
	case connected(m):
		return p.expect(wordWithin-p.now.Sub(p.heeds(m)), "its agent is told",
			fmt.Sprintf("its agent was told, is in session, and has said nothing of it in %s", wordWithin))
	case tooOld(m):
		return v1alpha1.StepOffline, "the hub cannot let its agent in, since their protocols are too far apart; it is told each time that it knocks"
	case p.runs(m) && since(m).Sub(m.Status.Agent.Since.Time) > p.spec.Bake.Duration:
		return v1alpha1.StepOffline, "it runs the build and is not connected"
	}
	return p.expect(returnWithin-p.now.Sub(since(m)), "its agent was told and is out of session; it is expected back",
		fmt.Sprintf("its agent was told and has not come back in %s", returnWithin))
}

// expect says that a cluster is changing while there is time left, and has failed after that.
func (p *pass) expect(left time.Duration, changing, failed string) (v1alpha1.UpgradeStep, string) {
	if left <= 0 {
		return v1alpha1.StepFailed, failed
	}
	if p.overdue == 0 || left < p.overdue {
		p.overdue = left
	}
	return v1alpha1.StepChanging, changing
}

// heeds returns since when a cluster that is connected can have heard what it was told: whoever changes is of the last wave.
func (p *pass) heeds(m *v1alpha1.MemberCluster) time.Time {
	if began := p.status.WaveBegan; began == nil { // by a hub that did not write it down
		return p.now
	} else if began.After(since(m)) {
		return began.Time
	}
	return since(m)
}

// since returns since when a cluster is connected, or is not.
func since(m *v1alpha1.MemberCluster) time.Time {
	if c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionConnected); c != nil {
		return c.LastTransitionTime.Time
	}
	return m.CreationTimestamp.Time
}

// connected says whether a cluster's agent is in session, as far as the status knows.
func connected(m *v1alpha1.MemberCluster) bool {
	return meta.IsStatusConditionTrue(m.Status.Conditions, v1alpha1.ConditionConnected)
}

// tooOld says whether the agent knocks and cannot be let in because of its protocol: an upgrade is its way out.
func tooOld(m *v1alpha1.MemberCluster) bool {
	c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionConnected)
	return c != nil && c.Reason == v1alpha1.ReasonProtocolMismatch
}

// imageFor returns the image of the build for a cluster; empty when there is none that it could pull.
func (p *pass) imageFor(m *v1alpha1.MemberCluster) string {
	hubs := p.seen.Repository + ":" + p.spec.Build
	if m.Status.Agent == nil || m.Status.Agent.Image == "" {
		return hubs
	}
	if repository, _ := SplitImage(m.Status.Agent.Image); repository == p.seen.Repository {
		return hubs
	}
	return p.spec.Image
}

// SplitImage takes an image apart into its repository and its tag. A digest is neither.
func SplitImage(image string) (repository, tag string) {
	image, _, _ = strings.Cut(image, "@")
	if at := strings.LastIndex(image, ":"); at > strings.LastIndex(image, "/") {
		return image[:at], image[at+1:]
	}
	return image, ""
}

// advance lets the next wave go when it is time, and says in the conditions what happens and why.
func (p *pass) advance() ([]Order, time.Duration) {
	failed, changing := p.at(v1alpha1.StepFailed), p.at(v1alpha1.StepChanging)
	halt := func(reason, message string) {
		p.set(v1alpha1.ConditionAdvancing, metav1.ConditionFalse, reason, message)
	}
	switch apart := tooFar(p.seen.HubVersion, p.spec.Build); {
	case p.spec.Intent == v1alpha1.UpgradeAbort:
		halt(v1alpha1.ReasonAborted, "it was aborted: no further cluster is told, and those that run the build keep it")
		return p.takeBack(), 0
	case p.seen.Repository == "" && len(p.at(v1alpha1.StepWaiting)) > 0:
		halt(v1alpha1.ReasonHubNotReady, "the hub has not said yet where its images are")
		return nil, 0
	case apart != "":
		halt(v1alpha1.ReasonTooFarApart, apart)
		return nil, 0
	case len(failed) > 0:
		halt(v1alpha1.ReasonStopped, fmt.Sprintf("stopped, since %s failed: %s", some(failed), failed[0].Message))
		return nil, p.overdue
	case p.spec.Intent == v1alpha1.UpgradePause:
		halt(v1alpha1.ReasonPaused, "it is paused: those that were told carry on, and no other is")
		return nil, p.overdue
	}
	p.set(v1alpha1.ConditionAdvancing, metav1.ConditionTrue, v1alpha1.ReasonRunning, "clusters are told as their turn comes")
	waiting := p.at(v1alpha1.StepWaiting)
	if len(changing) > 0 || len(waiting) == 0 {
		return nil, p.overdue
	}
	if left := p.spec.Bake.Duration - p.now.Sub(p.settled); p.told > 0 && !p.settled.IsZero() && left > 0 {
		p.set(v1alpha1.ConditionUpgraded, metav1.ConditionFalse, v1alpha1.ReasonBaking,
			fmt.Sprintf("wave %d is done and has to be well for %s before the next begins", p.status.Wave, p.spec.Bake.Duration))
		return nil, left
	}
	return p.begin(waiting[:min(len(waiting), p.size())]), p.overdue
}

// begin tells a wave.
func (p *pass) begin(wave []stand) []Order {
	var orders []Order
	for _, s := range wave {
		orders = append(orders, Order{s.Name, &v1alpha1.AgentProgram{Build: p.spec.Build, Image: p.imageFor(s.member), Attempt: p.spec.Attempt}})
		at := slices.IndexFunc(p.stands, func(other stand) bool { return other.Name == s.Name })
		p.stands[at].Step, p.stands[at].Message = v1alpha1.StepChanging, "its agent is told"
	}
	if p.told == 0 {
		p.status.Wave = 0
	}
	p.status.Wave++
	p.status.WaveBegan = &metav1.Time{Time: p.now}
	p.set(v1alpha1.ConditionUpgraded, metav1.ConditionFalse, v1alpha1.ReasonUpgrading, fmt.Sprintf("wave %d begins: %s", p.status.Wave, some(wave)))
	return orders
}

// takeBack takes back what was asked of clusters that have not done it. Who failed keeps what it was asked for: that it
// failed is to be seen.
func (p *pass) takeBack() []Order {
	var orders []Order
	for _, s := range p.at(v1alpha1.StepChanging) {
		orders = append(orders, Order{s.Name, nil})
	}
	return orders
}

// size is how many clusters the next wave has: canaries while none has been told.
func (p *pass) size() int {
	if p.told == 0 {
		return int(max(1, p.spec.Canary))
	}
	size, err := intstr.GetScaledValueFromIntOrPercent(&p.spec.Wave, len(p.seen.Clusters), true)
	if err != nil {
		return 1 // the schema lets none through that cannot be read
	}
	return max(1, size)
}

func (p *pass) at(step v1alpha1.UpgradeStep) []stand {
	var found []stand
	for _, s := range p.stands {
		if s.Step == step {
			found = append(found, s)
		}
	}
	return found
}

func (p *pass) set(condition string, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&p.status.Conditions, metav1.Condition{
		Type: condition, Status: status, Reason: reason, Message: message, ObservedGeneration: p.status.ObservedGeneration,
	})
}
