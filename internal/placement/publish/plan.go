package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// Scheduler is the name of whoever decides, in schedulerName and in the label that says whose a PlacementDecision is.
	Scheduler = "umbel"
	// ManagedByLabel is that label.
	ManagedByLabel = "app.kubernetes.io/managed-by"

	// perSlice is how many clusters one PlacementDecision holds at most; the kind allows no more.
	perSlice = 100
)

// Writes are what has to be done so that a Placement's PlacementDecisions say what its status says.
type Writes struct {
	Create, Update, Delete []*inventory.PlacementDecision
}

// Plan says what has to be done, given those that are there. A cluster that stays selected stays where it is, so that a
// change of one cluster is a write of one object.
func Plan(placement *v1alpha1.Placement, have []inventory.PlacementDecision) Writes {
	slices.SortFunc(have, func(a, b inventory.PlacementDecision) int { return strings.Compare(a.Name, b.Name) })
	var writes Writes
	if placement.Spec.Decisions == v1alpha1.DecisionsWithheld {
		for i := range have {
			writes.Delete = append(writes.Delete, &have[i])
		}
		return writes
	}
	if placement.Status.ObservedGeneration == 0 {
		return writes // nothing was decided yet, which is not the same as no cluster
	}
	sparse := len(have) > 2*slicesFor(len(placement.Status.Clusters))
	missing := make(map[v1alpha1.ClusterName]bool, len(placement.Status.Clusters))
	for _, name := range placement.Status.Clusters {
		missing[name] = true
	}
	kept := make([]*inventory.PlacementDecision, len(have))
	for i := range have {
		kept[i] = have[i].DeepCopy()
		kept[i].Decisions = slices.DeleteFunc(kept[i].Decisions, func(d inventory.ClusterDecision) bool {
			name := v1alpha1.ClusterName(d.ClusterProfileRef.Name)
			stays := missing[name] && !sparse && d == decision(name)
			if stays {
				delete(missing, name)
			}
			return !stays
		})
	}
	writes.Create = place(placement, kept, missing)
	for i, is := range kept {
		empty := len(is.Decisions) == 0
		switch {
		case empty && (i > 0 || len(placement.Status.Clusters) > 0):
			writes.Delete = append(writes.Delete, &have[i])
		case dress(placement, is) || !slices.Equal(is.Decisions, have[i].Decisions):
			writes.Update = append(writes.Update, is)
		}
	}
	return writes
}

// place puts the clusters that are missing into the slices that have room, and into new ones, which it returns.
func place(placement *v1alpha1.Placement, kept []*inventory.PlacementDecision, missing map[v1alpha1.ClusterName]bool) (made []*inventory.PlacementDecision) {
	names := make(map[string]bool, len(kept))
	for _, slice := range kept {
		names[slice.Name] = true
	}
	all, at := slices.Clone(kept), 0
	add := func() {
		slice := newSlice(placement, names)
		all, made = append(all, slice), append(made, slice)
	}
	for _, name := range placement.Status.Clusters {
		if !missing[name] {
			continue
		}
		for at < len(all) && len(all[at].Decisions) >= perSlice {
			at++
		}
		if at == len(all) {
			add()
		}
		all[at].Decisions = append(all[at].Decisions, decision(name))
	}
	if len(all) == 0 {
		add() // a decision for no cluster is one, too
	}
	return made
}

func slicesFor(clusters int) int { return max(1, (clusters+perSlice-1)/perSlice) }

func decision(cluster v1alpha1.ClusterName) inventory.ClusterDecision {
	return inventory.ClusterDecision{ClusterProfileRef: inventory.ClusterProfileReference{
		Namespace: v1alpha1.SystemNamespace, Name: string(cluster),
	}}
}

// newSlice makes a slice with the first name that is free.
func newSlice(placement *v1alpha1.Placement, taken map[string]bool) *inventory.PlacementDecision {
	slice := &inventory.PlacementDecision{Decisions: []inventory.ClusterDecision{}}
	slice.Namespace = placement.Namespace
	for i := len(taken); slice.Name == "" || taken[slice.Name]; i++ {
		slice.Name = fmt.Sprintf("%s-%d", bounded(placement.Name, 240), i%(len(taken)+1))
	}
	taken[slice.Name] = true
	dress(placement, slice)
	return slice
}

// dress gives a slice what it needs beside its clusters, and says whether it lacked any of it.
func dress(placement *v1alpha1.Placement, slice *inventory.PlacementDecision) (changed bool) {
	for key, value := range labelsOf(placement.Name) {
		if slice.Labels[key] != value {
			metav1.SetMetaDataLabel(&slice.ObjectMeta, key, value)
			changed = true
		}
	}
	owner := *metav1.NewControllerRef(placement, v1alpha1.GroupVersion.WithKind("Placement"))
	if !metav1.IsControlledBy(slice, placement) {
		slice.OwnerReferences, changed = []metav1.OwnerReference{owner}, true
	}
	if slice.SchedulerName != Scheduler {
		slice.SchedulerName, changed = Scheduler, true
	}
	return changed
}

func labelsOf(placement string) map[string]string {
	return map[string]string{ManagedByLabel: Scheduler, inventory.DecisionKeyLabel: bounded(placement, 63)}
}

// bounded returns a name as it is, or shortened and told apart from others by a hash.
func bounded(name string, most int) string {
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return strings.TrimRight(name[:most-9], ".-") + "-" + hex.EncodeToString(sum[:4])
}
