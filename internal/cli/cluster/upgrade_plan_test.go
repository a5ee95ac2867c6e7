package cluster

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/api/v1alpha1"
)

// grown is a cluster of a version, whose control plane serves these.
func grown(version string, served ...string) *unstructured.Unstructured {
	var versions []any
	for _, s := range served {
		versions = append(versions, map[string]any{"version": s})
	}
	c := object("Cluster", "default", "dev", map[string]any{
		"spec": map[string]any{"topology": map[string]any{
			"version": version, "classRef": map[string]any{"name": "local"},
			"workers": map[string]any{"machineDeployments": []any{
				map[string]any{"name": "workers", "replicas": int64(2)},
				map[string]any{"name": "front", "replicas": int64(1), "metadata": map[string]any{
					"annotations": map[string]any{deferUpgrade: "", "team": "web"},
				}},
			}},
		}},
		"status": map[string]any{"controlPlane": map[string]any{"versions": versions}},
	})
	return &c
}

func TestPlanUpgrade(t *testing.T) {
	both := func(workers, front string) []pool {
		return []pool{{"workers", workers, 2}, {"front", front, 1}}
	}
	for _, c := range []struct {
		reason string
		ascent ascent
		from   string
		served []string
		pools  []pool
		to     string   // that is planned
		moves  []string // pools that are
		want   []string // parts of the error; none when it is planned
	}{
		{"all of it", ascent{version: "1.36"}, "v1.35.4", []string{"v1.35.4"}, both("v1.35.4", "v1.35.4"), "v1.36.3", []string{"workers", "front"}, nil},
		{"the newest that is a step away", ascent{}, "v1.35.4", nil, both("v1.35.4", "v1.35.4"), "v1.36.3", []string{"workers", "front"}, nil},
		{"the newest that is a step away, of an older one", ascent{}, "v1.34.1", nil, both("v1.34.1", "v1.34.1"), "v1.35.4", []string{"workers", "front"}, nil},
		{"a patch", ascent{version: "1.36.3"}, "v1.36.1", []string{"v1.36.1"}, both("v1.36.1", "v1.36.1"), "v1.36.3", []string{"workers", "front"}, nil},
		{"the control plane alone", ascent{version: "1.36", scope: planeOnly}, "v1.35.4", nil, both("v1.35.4", "v1.35.4"), "v1.36.3", nil, nil},
		{"a pool, when the control plane has gone before", ascent{scope: onePool, pool: "front"}, "v1.36.3", nil, both("v1.35.4", "v1.35.4"), "v1.36.3", []string{"front"}, nil},
		{"what is left", ascent{version: "1.36"}, "v1.36.3", nil, both("v1.35.4", "v1.36.3"), "v1.36.3", []string{"workers"}, nil},
		{"nothing is left", ascent{version: "1.36"}, "v1.36.3", nil, both("v1.36.3", "v1.36.3"), "v1.36.3", nil, nil},
		{"two minors", ascent{version: "1.36"}, "v1.34.1", nil, both("v1.34.1", "v1.34.1"), "", nil, []string{"more than one minor away", "--version 1.35 is the next step"}},
		{"back", ascent{version: "1.35"}, "v1.36.3", nil, both("v1.36.3", "v1.36.3"), "", nil, []string{"does not go back"}},
		{"not to be had", ascent{version: "1.37"}, "v1.36.3", nil, both("v1.36.3", "v1.36.3"), "", nil, []string{"is not to be had with class \"local\", which has v1.35.4, v1.36.1, v1.36.3"}},
		{"a pool before its control plane", ascent{version: "1.36", scope: onePool, pool: "front"}, "v1.35.4", nil, both("v1.35.4", "v1.35.4"), "", nil,
			[]string{"a kubelet is never newer than its API server", "--control-plane-only --version 1.36.3"}},
		{"a pool that is not there", ascent{scope: onePool, pool: "back"}, "v1.36.3", nil, both("v1.35.4", "v1.35.4"), "", nil, []string{`no pool "back"`}},
		{"while it is on the way", ascent{version: "1.36.3"}, "v1.36.1", []string{"v1.35.4"}, both("v1.36.1", "v1.36.1"), "", nil, []string{"on the way from v1.35.4 to v1.36.1"}},
		{"while a pool is behind", ascent{version: "1.36"}, "v1.35.4", nil, both("v1.34.1", "v1.35.4"), "", nil,
			[]string{"pool workers is at v1.34.1 still", "`umbel cluster upgrade dev --pool workers` first"}},
		{"of no class", ascent{version: "1.36"}, "", nil, nil, "", nil, []string{"it is of no class"}},
	} {
		class := classWith("local", nil, "v1.35.4", "v1.36.1", "v1.36.3")
		got, err := planUpgrade(c.ascent, ground{cluster: grown(c.from, c.served...), class: &class, pools: c.pools})
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want %q", c.reason, err, part)
			}
		}
		if err != nil {
			continue
		}
		var moves []string
		for _, p := range got.pools {
			moves = append(moves, p.name)
		}
		if got.to != c.to || !cmp.Equal(moves, c.moves) || got.idle() != (c.reason == "nothing is left") {
			t.Errorf("%s: planned %+v, want %s of %q", c.reason, got, c.to, c.moves)
		}
	}
}

// TestWhoIsWaitedFor: also those that are told the version already, since they may be on their way.
func TestWhoIsWaitedFor(t *testing.T) {
	class := classWith("local", nil, "v1.36.3")
	for _, c := range []struct {
		ascent ascent
		want   []string
	}{
		{ascent{version: "1.36"}, []string{"workers", "front"}},
		{ascent{version: "1.36", scope: planeOnly}, nil},
		{ascent{scope: onePool, pool: "front"}, []string{"front"}},
	} {
		got, err := planUpgrade(c.ascent, ground{cluster: grown("v1.36.3"), class: &class, pools: []pool{{"workers", "v1.36.3", 2}, {"front", "v1.36.3", 1}}})
		if err != nil || !got.idle() || !cmp.Equal(got.scoped, c.want) {
			t.Errorf("%+v: waits for %q, %v; want %q", c.ascent, got.scoped, err, c.want)
		}
	}
}

// TestWhoIsNotWaitedFor: an agent that is not to come.
func TestWhoIsNotWaitedFor(t *testing.T) {
	bare := grown("v1.36.3")
	unstructured.RemoveNestedField(bare.Object, "spec", "topology", "workers")
	known := v1alpha1.MemberClusterStatus{Identity: &v1alpha1.MemberIdentity{KeyFingerprint: "ab"}}
	ours := metav1.ObjectMeta{Name: "dev", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/dev"}}
	for _, c := range []struct {
		reason  string
		cluster *unstructured.Unstructured
		member  v1alpha1.MemberCluster
		want    bool
	}{
		{"it came before", grown("v1.36.3"), v1alpha1.MemberCluster{ObjectMeta: ours, Status: known}, true},
		{"it never came", grown("v1.36.3"), v1alpha1.MemberCluster{ObjectMeta: ours}, false},
		{"there are no machines", bare, v1alpha1.MemberCluster{ObjectMeta: ours, Status: known}, false},
		{"the member is of another one", grown("v1.36.3"), v1alpha1.MemberCluster{Status: known}, false},
	} {
		if got := expected(c.cluster, &c.member); got != c.want {
			t.Errorf("%s: got %t", c.reason, got)
		}
	}
}

func TestAnUpgradeIsOrdered(t *testing.T) {
	c := climb{from: "v1.35.4", to: "v1.36.3", pools: []pool{{"front", "v1.35.4", 1}}, stay: []pool{{"workers", "v1.35.4", 2}}}
	before := grown("v1.35.4")
	ordered, err := c.order(before)
	if err != nil {
		t.Fatal(err)
	}
	want := []any{
		map[string]any{"name": "workers", "replicas": int64(2), "metadata": map[string]any{"annotations": map[string]any{deferUpgrade: ""}}},
		map[string]any{"name": "front", "replicas": int64(1), "metadata": map[string]any{"annotations": map[string]any{"team": "web"}}},
	}
	got, _, _ := unstructured.NestedSlice(ordered.Object, "spec", "topology", "workers", "machineDeployments")
	if diff := cmp.Diff(want, got); diff != "" || text(ordered, "spec", "topology", "version") != "v1.36.3" {
		t.Errorf("it is ordered at %s (-want +got):\n%s", text(ordered, "spec", "topology", "version"), diff)
	}
	if text(before, "spec", "topology", "version") != "v1.35.4" {
		t.Error("what was read has changed")
	}
	want2 := []string{
		"control plane: v1.35.4 → v1.36.3, in place: the API is away for some seconds, pods and Services are not",
		"pool front: v1.35.4 → v1.36.3, machines: 1, one by one: a new one comes, and an old one is drained as PodDisruptionBudgets allow",
		"pool workers: stays at v1.35.4",
	}
	if diff := cmp.Diff(want2, c.lines()); diff != "" {
		t.Errorf("what it says (-want +got):\n%s", diff)
	}
}

func TestAPoolHasArrived(t *testing.T) {
	machine := func(version, available string) unstructured.Unstructured {
		return object("Machine", "default", "m", map[string]any{
			"spec":   map[string]any{"version": version},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": available}}},
		})
	}
	for _, c := range []struct {
		reason   string
		machines []unstructured.Unstructured
		want     bool
	}{
		{"nothing has begun", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.35.4", "True")}, false},
		{"a new one comes", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.35.4", "True"), machine("v1.36.3", "False")}, false},
		{"an old one is left", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.36.3", "True"), machine("v1.36.3", "True")}, false},
		{"the last new one does not work yet", []unstructured.Unstructured{machine("v1.36.3", "True"), machine("v1.36.3", "False")}, false},
		{"one is missing", []unstructured.Unstructured{machine("v1.36.3", "True")}, false},
		{"all are new and at work", []unstructured.Unstructured{machine("v1.36.3", "True"), machine("v1.36.3", "True")}, true},
	} {
		if got, said := arrived(c.machines, 2, "v1.36.3"); got != c.want {
			t.Errorf("%s: got %t, %s", c.reason, got, said)
		}
	}
}

// TestWhatBarsAnUpgrade: what is in use and gone, and what is not known of all members of a control plane.
func TestWhatBarsAnUpgrade(t *testing.T) {
	old, lasting := deprecated{version: "v1", resource: "old", removed: "1.36"}, deprecated{version: "v1", resource: "lasting", removed: "1.40"}
	for _, c := range []struct {
		reason string
		climb  climb
		inUse  []deprecated
		want   string // part of why not; none when nothing bars it
	}{
		{"nothing is in use", climb{from: "v1.35.4", to: "v1.36.3", planes: 1}, nil, ""},
		{"what stays is in use", climb{from: "v1.35.4", to: "v1.36.3", planes: 1}, []deprecated{lasting}, ""},
		{"what goes is in use", climb{from: "v1.35.4", to: "v1.36.3", planes: 1}, []deprecated{old, lasting}, "in use are v1 old"},
		{"one of three was asked", climb{from: "v1.35.4", to: "v1.36.3", planes: 3}, nil, "one of its 3 API servers"},
		{"what goes is in use of one of three", climb{from: "v1.35.4", to: "v1.36.3", planes: 3}, []deprecated{old}, "in use are v1 old"},
		{"one of three was asked, and nothing goes with a patch", climb{from: "v1.36.1", to: "v1.36.3", planes: 3}, nil, ""},
	} {
		err := c.climb.barred(c.inUse)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--despite-removed-apis")) {
			t.Errorf("%s: got %v", c.reason, err)
		}
	}
	class := classWith("local", nil, "v1.35.4", "v1.36.3")
	cluster := grown("v1.35.4")
	if err := unstructured.SetNestedField(cluster.Object, int64(3), "spec", "topology", "controlPlane", "replicas"); err != nil {
		t.Fatal(err)
	}
	if got, err := planUpgrade(ascent{version: "1.36"}, ground{cluster: cluster, class: &class}); err != nil || got.planes != 3 {
		t.Errorf("it is of %d API servers, %v", got.planes, err)
	}
}

func TestDeprecatedAPIs(t *testing.T) {
	metrics := `# HELP apiserver_requested_deprecated_apis [STABLE] Gauge of deprecated APIs that have been requested
# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.36",resource="flowschemas",subresource="",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="flowcontrol.apiserver.k8s.io",removed_release="1.36",resource="flowschemas",subresource="status",version="v1beta3"} 1
apiserver_requested_deprecated_apis{group="batch",removed_release="1.40",resource="cronjobs",subresource="",version="v1beta1"} 0
apiserver_request_total{group="batch",version="v1"} 7
`
	var said []string
	for _, d := range deprecatedIn(metrics) {
		said = append(said, d.String())
		if d.gone("v1.35.4") || d.gone("v1.36.3") != (d.removed == "1.36") || d.gone("v1.37.0") != (d.removed == "1.36") {
			t.Errorf("%s: when is it gone?", d)
		}
	}
	want := []string{
		"flowcontrol.apiserver.k8s.io/v1beta3 flowschemas, which Kubernetes 1.36 does not serve any more",
		"v1 endpoints, which is deprecated",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
