package console

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/capacity"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/delivery/preview"
	"umbel.dev/umbel/internal/health"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// TestAlerts: what fires comes first, the worst of it before, and a page has a part of what matches.
func TestAlerts(t *testing.T) {
	alert := func(name, severity, state, cluster string, minutes int) measured.Alert {
		return measured.Alert{State: state, FiringAlert: health.FiringAlert{
			Object: "umbel-system/r", Name: name, Since: metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute)),
			Labels:      map[string]string{"alertname": name, "severity": severity, "cluster": cluster, "node": "n-" + cluster},
			Annotations: map[string]string{"summary": "of " + cluster, "runbook_url": "javascript:alert(1)"},
		}}
	}
	told := measured.Alerts{Rules: 3, Alerts: []measured.Alert{
		alert("Late", "critical", "pending", "a", 5), alert("Warm", "warning", "firing", "a", 1), alert("Down", "critical", "firing", "b", 0), alert("Warm", "warning", "firing", "b", 2),
		{State: "firing", FiringAlert: health.FiringAlert{Name: "Plain"}},
	}}
	names := func(page *AlertPage) (all []string) {
		for _, row := range page.Rows {
			all = append(all, row.Name+"/"+row.Cluster)
		}
		return all
	}
	for _, c := range []struct {
		reason string
		query  url.Values
		want   []string
		total  int
	}{
		{"all of them", url.Values{}, []string{"Down/b", "Warm/b", "Warm/a", "Plain/", "Late/a"}, 5},
		{"a part", url.Values{"from": {"1"}, "limit": {"2"}}, []string{"Warm/b", "Warm/a"}, 5},
		{"of one cluster", url.Values{"f.cluster": {"a"}}, []string{"Warm/a", "Late/a"}, 2},
		{"by words of a label", url.Values{"q": {"node=n-b warm"}}, []string{"Warm/b"}, 1},
		{"that fire, of one cluster", url.Values{"f.cluster": {"a"}, "f.state": {"firing"}}, []string{"Warm/a"}, 1},
	} {
		page := pageOf(told, c.query)
		if diff := cmp.Diff(c.want, names(page)); diff != "" || page.Total != c.total || page.All != 5 || page.Firing != 4 || page.Rules != 3 {
			t.Errorf("%s: total %d (-want +got):\n%s", c.reason, page.Total, diff)
		}
	}
	page := pageOf(told, url.Values{"f.cluster": {"a"}})
	if diff := cmp.Diff(Facet{Name: "cluster", Values: []Count{{"a", 2}, {"b", 2}}}, page.Facets[3]); diff != "" {
		t.Errorf("the facet that was chosen (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Facet{Name: "severity", Values: []Count{{"critical", 1}, {"warning", 1}}}, page.Facets[0]); diff != "" {
		t.Errorf("another facet (-want +got):\n%s", diff)
	}
	if page.Rows[0].Runbook != "" {
		t.Errorf("a script is told as a runbook: %s", page.Rows[0].Runbook)
	}
}

// TestCapacities: an answer is good for half a minute, and an error for no time.
func TestCapacities(t *testing.T) {
	var k capacities
	asked := 0
	read := func() ([]capacity.Row, error) { asked++; return []capacity.Row{{Team: "a"}}, nil }
	if _, err := k.of("ada", noon, func() ([]capacity.Row, error) { return nil, errors.New("not now") }); err == nil {
		t.Error("an error is no answer")
	}
	for _, c := range []struct {
		key   string
		after time.Duration
		want  int
	}{{"ada", 0, 1}, {"ada", 29 * time.Second, 1}, {"bob", 29 * time.Second, 2}, {"ada", 31 * time.Second, 3}} {
		if rows, err := k.of(c.key, noon.Add(c.after), read); err != nil || len(rows) != 1 || asked != c.want {
			t.Errorf("%s after %s: %v, %v, asked %d times, want %d", c.key, c.after, rows, err, asked, c.want)
		}
	}
}

// TestPicture: each cluster of a rollout is where it is, whatever else is said of it.
func TestPicture(t *testing.T) {
	since := metav1.NewTime(noon)
	r := &v1alpha1.Rollout{Status: v1alpha1.RolloutStatus{
		Stages: []v1alpha1.StageStatus{
			{Name: "dev", Moved: []v1alpha1.ClusterName{"d2", "d1", "d3"}}, {Name: "prod", Moved: []v1alpha1.ClusterName{"p1", "p2"}, Waiting: []v1alpha1.ClusterName{"p3", "p4"}}, {Name: "none"},
		},
		Moving:   []v1alpha1.MovingClusters{{Since: since, Clusters: []v1alpha1.ClusterName{"d2", "p1"}}, {Since: since, Failing: &since, Clusters: []v1alpha1.ClusterName{"d3"}}},
		Failures: []v1alpha1.RolloutFailure{{Cluster: "p1"}},
	}}
	states := []view.ClusterState{{Cluster: "p2", State: view.Unknown}, {Cluster: "p4", State: view.Unknown}, {Cluster: "d1", State: view.Ready}}
	want := []Group{{Value: "dev", Names: []string{"d1", "d2", "d3"}, Cells: "430"}, {Value: "prod", Names: []string{"p1", "p2", "p3", "p4"}, Cells: "0121"}}
	if diff := cmp.Diff(want, pictureOf(r, states)); diff != "" {
		t.Errorf("the picture (-want +got):\n%s", diff)
	}
}

// TestASightHasAnEnd: of a plan that changes very much the page shows a part, and says so.
func TestASightHasAnEnd(t *testing.T) {
	var g plan.Group
	for n := range 300 {
		g.Clusters = append(g.Clusters, v1alpha1.ClusterName(strings.Repeat("c", n%50+1)))
		g.Changes = append(g.Changes, preview.Change{Action: preview.Update, Diff: strings.Repeat("+ a line\n", 1000)})
	}
	sight := sightOf(&plan.Plan{Groups: []plan.Group{g}}, "r")
	got := sight.Groups[0]
	size := 0
	for _, change := range got.Changes {
		size += len(change.Diff)
		if !strings.HasSuffix(change.Diff, "\n") && change.Diff != "" {
			t.Fatal("half a line is shown")
		}
	}
	if got.Count != 300 || len(got.Clusters) != maxNames || len(got.Changes) != maxChanges || got.More != 100 || size > maxDiffs || size < maxDiffs/2 {
		t.Errorf("of 300 changes of 300 clusters %d and %d are shown, %d more, with %d bytes", len(got.Changes), len(got.Clusters), got.More, size)
	}
	if last := got.Changes[maxChanges-1]; last.Diff != "" || !strings.Contains(last.Note, "umbel plan") {
		t.Errorf("the last one says %q", last.Note)
	}
}
