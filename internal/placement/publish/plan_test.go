package publish

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"

	"umbel.dev/umbel/api/v1alpha1"
)

func placementOfClusters(names ...v1alpha1.ClusterName) *v1alpha1.Placement {
	p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shops", UID: "u1"}}
	p.Status.ObservedGeneration, p.Status.Clusters = 1, names
	return p
}

// apply does to a list of objects what an API would do.
func apply(have []inventory.PlacementDecision, writes Writes) []inventory.PlacementDecision {
	var gone []string
	for _, d := range writes.Delete {
		gone = append(gone, d.Name)
	}
	have = slices.DeleteFunc(slices.Clone(have), func(h inventory.PlacementDecision) bool { return slices.Contains(gone, h.Name) })
	for _, d := range writes.Update {
		have[slices.IndexFunc(have, func(h inventory.PlacementDecision) bool { return h.Name == d.Name })] = *d
	}
	for _, d := range writes.Create {
		have = append(have, *d)
	}
	return have
}

func size(w Writes) string {
	return fmt.Sprintf("%d created, %d updated, %d deleted", len(w.Create), len(w.Update), len(w.Delete))
}

func names(from, to int) (list []v1alpha1.ClusterName) {
	for i := from; i < to; i++ {
		list = append(list, v1alpha1.ClusterName(fmt.Sprintf("c%05d", i)))
	}
	return list
}

// TestAChangeOfOneClusterIsOneWrite, among ten thousand.
func TestAChangeOfOneClusterIsOneWrite(t *testing.T) {
	var have []inventory.PlacementDecision
	for _, step := range []struct {
		reason   string
		clusters []v1alpha1.ClusterName
		want     string
		left     int
	}{
		{"ten thousand", names(1, 10_001), "100 created, 0 updated, 0 deleted", 100},
		{"nothing changed", names(1, 10_001), "0 created, 0 updated, 0 deleted", 100},
		{"the first leaves", names(2, 10_001), "0 created, 1 updated, 0 deleted", 100},
		{"one comes before all, where one left", slices.Concat(names(0, 1), names(2, 10_001)), "0 created, 1 updated, 0 deleted", 100},
		{"one more comes than there is room for", names(0, 10_001), "1 created, 0 updated, 0 deleted", 101},
		{"all but one leave", names(0, 1), "0 created, 1 updated, 100 deleted", 1},
		{"the last leaves: a decision for no cluster", nil, "0 created, 1 updated, 0 deleted", 1},
	} {
		writes := Plan(placementOfClusters(step.clusters...), have)
		if got := size(writes); got != step.want {
			t.Fatalf("%s: %s, want %s", step.reason, got, step.want)
		}
		if have = apply(have, writes); len(have) != step.left {
			t.Fatalf("%s: %d slices, want %d", step.reason, len(have), step.left)
		}
	}
}

func TestWhenThereAreNone(t *testing.T) {
	undecided := placementOfClusters()
	undecided.Status.ObservedGeneration = 0
	if got := size(Plan(undecided, nil)); got != "0 created, 0 updated, 0 deleted" {
		t.Errorf("not decided yet: %s", got)
	}
	have := apply(nil, Plan(placementOfClusters("a"), nil))
	withheld := placementOfClusters("a")
	withheld.Spec.Decisions = v1alpha1.DecisionsWithheld
	if got := size(Plan(withheld, have)); got != "0 created, 0 updated, 1 deleted" {
		t.Errorf("withheld: %s", got)
	}
	have[0].Labels, have[0].SchedulerName = nil, "somebody"
	have[0].Decisions = append(have[0].Decisions, inventory.ClusterDecision{ClusterProfileRef: inventory.ClusterProfileReference{Name: "z"}})
	writes := Plan(placementOfClusters("a"), have)
	if len(writes.Update) != 1 || len(writes.Update[0].Decisions) != 1 || writes.Update[0].SchedulerName != Scheduler || writes.Update[0].Labels[ManagedByLabel] != Scheduler {
		t.Errorf("what somebody wrote into it stays: %+v", writes)
	}
}

// TestAnyHistory: after whatever changes, the slices say exactly what the status says, each cluster once, at most a hundred each.
func TestAnyHistory(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var have []inventory.PlacementDecision
	for range 300 {
		var selected []v1alpha1.ClusterName
		share := random.IntN(100)
		for _, name := range names(0, 700) {
			if random.IntN(100) < share {
				selected = append(selected, name)
			}
		}
		have = apply(have, Plan(placementOfClusters(selected...), have))
		var said []v1alpha1.ClusterName
		taken := map[string]bool{}
		for _, slice := range have {
			if len(slice.Decisions) > perSlice || taken[slice.Name] {
				t.Fatalf("slice %s has %d clusters, or a name that is taken", slice.Name, len(slice.Decisions))
			}
			taken[slice.Name] = true
			for _, d := range slice.Decisions {
				said = append(said, v1alpha1.ClusterName(d.ClusterProfileRef.Name))
			}
		}
		slices.Sort(said)
		if !slices.Equal(said, selected) {
			t.Fatalf("the slices say %d clusters, the status %d", len(said), len(selected))
		}
		if len(have) > 2*slicesFor(len(selected))+1 {
			t.Fatalf("%d slices for %d clusters", len(have), len(selected))
		}
	}
}

func TestLongNames(t *testing.T) {
	one, other := strings.Repeat("a", 253), strings.Repeat("a", 252)+"b"
	for _, most := range []int{63, 240} {
		if a, b := bounded(one, most), bounded(other, most); len(a) > most || a == b {
			t.Errorf("%q and %q", a, b)
		}
	}
}
