package apply

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// TestRecordsAreFoundByTheirHolders: whatever is claimed, handed over and dropped, in any order, a holder's records are those that
// say so themselves.
func TestRecordsAreFoundByTheirHolders(t *testing.T) {
	const seed = 7
	random := rand.New(rand.NewPCG(seed, seed))
	units := []*unit{{key: "a/a"}, {key: "b/b"}, {key: "c/c"}}
	x := newIndex()
	one := func() *unit { return units[random.IntN(len(units))] }
	for step := range 5000 {
		key := bundle.Key{Kind: "ConfigMap", Namespace: "n", Name: fmt.Sprint(random.IntN(20))}
		switch random.IntN(4) {
		case 0, 1:
			x.claim(key, schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, one())
		case 2:
			x.give(key, one(), one())
		case 3:
			if r := x.get(key); r != nil {
				x.drop(r, one())
			}
		}
		for _, u := range units {
			want := 0
			for _, r := range x.records {
				if r.heldBy(u) {
					want++
				}
			}
			got := 0
			x.each(u, func(r *record) {
				if got++; !r.heldBy(u) || x.records[r.key] != r {
					t.Fatalf("step %d: %s is said to hold %s", step, u.key, r.key)
				}
			})
			if got != want {
				t.Fatalf("step %d: %s is said to hold %d, and holds %d", step, u.key, got, want)
			}
		}
	}
}

// TestWhatChangedHands between a claim and what follows from it is left alone: neither is the content of who had it made what the new holder
// wants, nor is that one's object taken away.
func TestWhatChangedHands(t *testing.T) {
	x, had, has := newIndex(), &unit{key: "team/a"}, &unit{key: "platform/b"}
	key, at := bundle.Key{Kind: "ConfigMap", Namespace: "n", Name: "a"}, schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	theirs, ours := &disk.Content{}, &disk.Content{}
	r, _ := x.claim(key, at, had)
	x.give(key, had, has)
	if holder := r.desire(had, at, theirs, disk.Object{}, nil); holder != has || r.wanted() {
		t.Errorf("%s holds it, and it is wanted: %v", holder.key, r.wanted())
	}
	if holder := r.desire(has, at, ours, disk.Object{}, nil); holder != has || r.task().content != ours {
		t.Errorf("%s holds it, and cannot say what it wants", holder.key)
	}
	if r.desire(had, at, theirs, disk.Object{}, nil); r.task().content != ours {
		t.Error("the content of one package is what another writes")
	}
	w := &writer{index: x}
	if err := w.prune(t.Context(), had, r, outgoing.Deleted); err != nil {
		t.Errorf("it was about to be deleted: %v", err)
	}
	if r.dismiss(had) || !r.wanted() || x.drop(r, had) || x.get(key) != r {
		t.Error("who had it has taken it away")
	}
	if !r.dismiss(has) || r.wanted() || !x.drop(r, has) || x.get(key) != nil {
		t.Error("who has it cannot take it away")
	}
}

// TestUnusedResources: a resource is unused when, and only when, no record is of it, whatever is claimed and dropped.
func TestUnusedResources(t *testing.T) {
	const seed = 11
	random := rand.New(rand.NewPCG(seed, seed))
	x, u := newIndex(), &unit{key: "a/a"}
	all := make([]schema.GroupVersionResource, 5)
	for i := range all {
		all[i] = schema.GroupVersionResource{Version: "v1", Resource: fmt.Sprint(i)}
	}
	for step := range 2000 {
		kind := random.IntN(len(all))
		key := bundle.Key{Kind: fmt.Sprint(kind), Name: fmt.Sprint(random.IntN(3))}
		if r := x.get(key); r != nil {
			x.drop(r, u)
		} else {
			x.claim(key, all[kind], u)
		}
		want := map[schema.GroupVersionResource]bool{}
		for _, gvr := range all {
			want[gvr] = true
		}
		for _, r := range x.records {
			delete(want, r.gvr)
		}
		if diff := cmp.Diff(want, x.unused(slices.Values(all))); diff != "" {
			t.Fatalf("step %d (-want +got):\n%s", step, diff)
		}
	}
}
