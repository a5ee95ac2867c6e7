package console

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

// TestFleet: the picture of 10,050 clusters has 10,000 cells, each at its name, the largest groups first and those without the label last; and it says
// how many it has no room for.
func TestFleet(t *testing.T) {
	const healths = "01234" // as view.Healths has them
	sizes := map[string]int{"eu": 5000, "us": 3000, "ap": 1000, "af": 1000, "": 50}
	var clusters []v1alpha1.MemberCluster
	for region, many := range sizes {
		for n := range many {
			clusters = append(clusters, ill(fmt.Sprintf("%s-%04d", region, n), region, view.Healths[n%len(healths)]))
		}
	}
	shuffled := rand.New(rand.NewPCG(1, 2))
	shuffled.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
	m := view.Moment{Now: pictured, Pulse: view.Pulse{Heard: pictured, Lasts: time.Minute}}

	got := fleet(m, clusters, "region")
	if got.Total != 10050 || got.NotShown != 50 {
		t.Errorf("of %d clusters %d are not shown, want 50 of 10050", got.Total, got.NotShown)
	}
	var order []string
	for _, g := range got.Groups {
		order = append(order, fmt.Sprintf("%s %d", g.Value, len(g.Names)))
		names := []string{}
		for n := range g.Names {
			names = append(names, fmt.Sprintf("%s-%04d", g.Value, n))
		}
		if diff := cmp.Diff(names, g.Names); diff != "" {
			t.Errorf("%q: names (-want +got):\n%s", g.Value, diff)
		}
		if want := strings.Repeat(healths, 1000)[:len(g.Names)]; g.Cells != want {
			t.Errorf("%q: cells are not the healths of the names: they begin %.20q", g.Value, g.Cells)
		}
	}
	if diff := cmp.Diff([]string{"eu 5000", "us 3000", "af 1000", "ap 1000", " 0"}, order); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	var each []Count
	for _, health := range view.Healths {
		each = append(each, Count{string(health), 2010})
	}
	if diff := cmp.Diff(each, got.Health); diff != "" {
		t.Errorf("all of them are counted (-want +got):\n%s", diff)
	}
	if len(got.Troubles) != maxTroubles || slices.ContainsFunc(got.Troubles, func(row ClusterRow) bool { return row.Health != view.NotReady }) {
		t.Errorf("the troubles are not the worst: %v", got.Troubles)
	}

	if got := fleet(m, clusters, "tier"); len(got.Groups) != 1 || len(got.Groups[0].Names) != maxCells || got.NotShown != 50 {
		t.Errorf("by a label that none has, there are %d groups, and %d are not shown", len(got.Groups), got.NotShown)
	}
	got = fleet(m, clusters[:100], "name")
	if len(got.Groups) != maxGroups || got.NotShown != got.Total-maxGroups {
		t.Errorf("by a label that differs of each, there are %d groups, and %d are not shown", len(got.Groups), got.NotShown)
	}
}

var pictured = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// ill is a cluster whose health is this one.
func ill(name, region string, health view.Health) v1alpha1.MemberCluster {
	member := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}}}
	if region != "" {
		member.Labels["region"] = region
	}
	connected, reason, ready := metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered, metav1.ConditionTrue
	switch health {
	case view.NotReady:
		ready = metav1.ConditionFalse
	case view.Silent:
		connected, reason = metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout
	case view.Awaited:
		connected, reason = metav1.ConditionFalse, v1alpha1.ReasonPendingApproval
	case view.Hibernated:
		connected, reason = metav1.ConditionFalse, v1alpha1.ReasonHibernated
	}
	member.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionConnected, Status: connected, Reason: reason, LastTransitionTime: metav1.NewTime(pictured)},
		{Type: v1alpha1.ConditionReady, Status: ready, Reason: "Test", LastTransitionTime: metav1.NewTime(pictured)},
	}
	return member
}
