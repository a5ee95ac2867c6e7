package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

func TestTeamOf(t *testing.T) {
	for _, c := range []struct {
		reason      string
		annotations map[string]string
		want        Team
		wrong       string
	}{
		{reason: "the platform's", annotations: map[string]string{"a": "b"}},
		{reason: "a team's", annotations: map[string]string{"umbel.dev/acts-as": "shop/deployer"}, want: Team{ActsAs: &wire.ServiceAccount{Namespace: "shop", Name: "deployer"}}},
		{reason: "a name with dots", annotations: map[string]string{"umbel.dev/acts-as": "shop/a.b-c"}, want: Team{ActsAs: &wire.ServiceAccount{Namespace: "shop", Name: "a.b-c"}}},
		{reason: "quotas", annotations: map[string]string{"umbel.dev/max-packages": "0", "umbel.dev/max-objects": "20", "umbel.dev/max-clusters": "3"},
			want: Team{Packages: new(0), Objects: new(20), Clusters: new(3)}},
		{reason: "nobody", annotations: map[string]string{"umbel.dev/acts-as": ""}, wrong: "umbel.dev/acts-as is \"\""},
		{reason: "no namespace", annotations: map[string]string{"umbel.dev/acts-as": "deployer"}, wrong: "want NAMESPACE/NAME"},
		{reason: "more than a name", annotations: map[string]string{"umbel.dev/acts-as": "shop/a/b"}, wrong: "want NAMESPACE/NAME"},
		{reason: "a user of another kind", annotations: map[string]string{"umbel.dev/acts-as": "shop:x/deployer"}, wrong: "want NAMESPACE/NAME"},
		{reason: "no number", annotations: map[string]string{"umbel.dev/max-objects": "many"}, wrong: "umbel.dev/max-objects is \"many\""},
		{reason: "less than none", annotations: map[string]string{"umbel.dev/max-clusters": "-1"}, wrong: "want a number"},
	} {
		got, err := TeamOf(c.annotations)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: got %v, %v", c.reason, got, err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); err != nil || diff != "" {
			t.Errorf("%s: %v %s", c.reason, err, diff)
		}
	}
}

func TestQuotasBarWhatCameLater(t *testing.T) {
	first := metav1.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	pkg := func(name string, made metav1.Time) v1alpha1.Package {
		return v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: made}}
	}
	peers := []v1alpha1.Package{pkg("z", first), pkg("b", metav1.NewTime(first.Add(time.Hour))), pkg("a", metav1.NewTime(first.Add(time.Hour)))}
	barred := map[string]bool{}
	for i := range peers {
		barred[peers[i].Name] = Team{Packages: new(2)}.Bars(&peers[i], peers, nil) != Bar{}
	}
	if diff := cmp.Diff(map[string]bool{"z": false, "a": false, "b": true}, barred); diff != "" {
		t.Error(diff)
	}
	bar := Team{Packages: new(0)}.Bars(&peers[0], peers, nil)
	if bar.Reason != v1alpha1.ReasonQuotaExceeded || !strings.Contains(bar.Message, "namespace shop may have 0 packages (umbel.dev/max-packages), and 0 were made before this one") {
		t.Errorf("got %+v", bar)
	}
}

// TestWhatIsBarredIsKept: no cluster is told anything of it, be it to hold it or to let go; but that it is being deleted counts.
func TestWhatIsBarredIsKept(t *testing.T) {
	seen := Seen{Placement: placement(1, 1, "True", "a"), Release: plain(), Bar: Bar{v1alpha1.ReasonQuotaExceeded, "too many"}}
	for _, cluster := range []v1alpha1.ClusterName{"a", "b"} {
		if action, _ := Assign(seen, Cluster{Name: cluster}); action != Keep {
			t.Errorf("%s: got %v", cluster, action)
		}
	}
	seen.Bar = Bar{}
	if action, _ := Assign(seen, Cluster{Name: "a"}); action != Deliver {
		t.Errorf("not barred: got %v", action)
	}
	seen.Bar, seen.Deleting = Bar{v1alpha1.ReasonTeamInvalid, "nobody"}, true
	if action, _ := Assign(seen, Cluster{Name: "a"}); action != Remove {
		t.Errorf("being deleted: got %v", action)
	}
}
