package decide

import (
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestAClusterThatIsObservedKeepsWhatItHolds, whatever is decided, and is told the rest when it is attached again.
func TestAClusterThatIsObservedKeepsWhatItHolds(t *testing.T) {
	for _, c := range []struct {
		reason string
		seen   Seen
		then   Action // when it is attached
	}{
		{"it is selected", Seen{Placement: placement(1, 1, "True", "a"), Release: plain()}, Deliver},
		{"it is not selected any more", Seen{Placement: placement(1, 1, "True"), Release: plain()}, Remove},
		{"the Package is being deleted", Seen{Deleting: true}, Remove},
	} {
		if got, _ := Assign(c.seen, Cluster{Name: "a", Observed: true}); got != Keep {
			t.Errorf("%s: it is told %v", c.reason, got)
		}
		if got, _ := Assign(c.seen, Cluster{Name: "a"}); got != c.then {
			t.Errorf("%s: attached, it is told %v, want %v", c.reason, got, c.then)
		}
	}
}

func TestWhatIsSaidOfClustersThatAreObserved(t *testing.T) {
	old := Member{Cluster: Cluster{Name: "a", Observed: true}, Connected: true, Holds: &v1alpha1.MemberPackage{Release: "before", Digest: "sha256:old", Phase: v1alpha1.PackageApplied}}
	seen := Seen{Placement: placement(1, 1, "True", "a"), Release: plain()}
	said := Delivered(seen, Count(seen, []Member{old}, v1alpha1.ClusterCounts{}))
	if said.Reason != v1alpha1.ReasonDelivering || !strings.Contains(said.Message, "umbel level a attached") {
		t.Errorf("that it does not get a release is told as %s: %s", said.Reason, said.Message)
	}
	if gone, waits := Deleting([]Member{old}); !waits || !strings.Contains(gone.Message, "observed, so that nothing is deleted there: a") {
		t.Errorf("that a Package cannot go is told as %v: %s", waits, gone.Message)
	}
	if seen.Placement = placement(1, 1, "True"); Withhold(seen, []Member{old}, nil).Has("a") {
		t.Error("one that loses nothing counts among those that would")
	}
}
