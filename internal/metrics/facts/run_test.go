package facts

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestWhoLeavesHasEnded: what a cluster sent ends once it is in the fleet no more, and is tried again when that could not be written; of one that was never
// seen, before the hub was started, nothing is said.
func TestWhoLeavesHasEnded(t *testing.T) {
	fleet := map[v1alpha1.ClusterName]bool{}
	var broken error
	for _, round := range []struct {
		here, ends []string
		broken     error
	}{
		{here: []string{"a", "b"}},
		{here: []string{"a"}, broken: errors.New("the disk is full")},
		{here: []string{"a"}, ends: []string{"b"}},
		{here: []string{"a"}},
		{here: []string{"b"}, ends: []string{"a"}},
	} {
		var ended []string
		broken = round.broken
		n := Needs{End: func(_ context.Context, at time.Time, cluster v1alpha1.ClusterName) error {
			if broken == nil {
				ended = append(ended, string(cluster)+" "+at.Format(time.TimeOnly))
			}
			return broken
		}}
		var clusters []v1alpha1.MemberCluster
		for _, name := range round.here {
			clusters = append(clusters, v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		if err := n.left(t.Context(), noon, fleet, clusters); !errors.Is(err, round.broken) {
			t.Errorf("with %v: %v", round.here, err)
		}
		var want []string
		for _, name := range round.ends {
			want = append(want, name+" 12:00:00")
		}
		if diff := cmp.Diff(want, ended); diff != "" {
			t.Errorf("with %v (-want +got):\n%s", round.here, diff)
		}
	}
}
