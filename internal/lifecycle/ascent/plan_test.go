package ascent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
)

func object(kind, namespace, name string, content map[string]any) unstructured.Unstructured {
	o := unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: kind})
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func classWith(versions ...any) *unstructured.Unstructured {
	o := object("ClusterClass", v1alpha1.SystemNamespace, "local", map[string]any{"spec": map[string]any{"kubernetesVersions": versions}})
	return &o
}

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
	both := func(workers, front string) []Pool {
		return []Pool{{"workers", workers, 2}, {"front", front, 1}}
	}
	for _, c := range []struct {
		reason string
		wish   Wish
		from   string
		served []string
		pools  []Pool
		to     string   // that is planned
		moves  []string // pools that are
		want   []string // parts of the error; none when it is planned
	}{
		{"all of it", Wish{Version: "1.36"}, "v1.35.4", []string{"v1.35.4"}, both("v1.35.4", "v1.35.4"), "v1.36.3", []string{"workers", "front"}, nil},
		{"the newest that is a step away", Wish{}, "v1.35.4", nil, both("v1.35.4", "v1.35.4"), "v1.36.3", []string{"workers", "front"}, nil},
		{"the newest that is a step away, of an older one", Wish{}, "v1.34.1", nil, both("v1.34.1", "v1.34.1"), "v1.35.4", []string{"workers", "front"}, nil},
		{"a patch", Wish{Version: "1.36.3"}, "v1.36.1", []string{"v1.36.1"}, both("v1.36.1", "v1.36.1"), "v1.36.3", []string{"workers", "front"}, nil},
		{"the control plane alone", Wish{Version: "1.36", Scope: PlaneOnly}, "v1.35.4", nil, both("v1.35.4", "v1.35.4"), "v1.36.3", nil, nil},
		{"a pool, when the control plane has gone before", Wish{Scope: OnePool, Pool: "front"}, "v1.36.3", nil, both("v1.35.4", "v1.35.4"), "v1.36.3", []string{"front"}, nil},
		{"what is left", Wish{Version: "1.36"}, "v1.36.3", nil, both("v1.35.4", "v1.36.3"), "v1.36.3", []string{"workers"}, nil},
		{"nothing is left", Wish{Version: "1.36"}, "v1.36.3", nil, both("v1.36.3", "v1.36.3"), "v1.36.3", nil, nil},
		{"two minors", Wish{Version: "1.36"}, "v1.34.1", nil, both("v1.34.1", "v1.34.1"), "", nil, []string{"more than one minor away", "--version 1.35 is the next step"}},
		{"back", Wish{Version: "1.35"}, "v1.36.3", nil, both("v1.36.3", "v1.36.3"), "", nil, []string{"does not go back"}},
		{"not to be had", Wish{Version: "1.37"}, "v1.36.3", nil, both("v1.36.3", "v1.36.3"), "", nil, []string{"is not to be had with class \"local\", which has v1.35.4, v1.36.1, v1.36.3"}},
		{"a pool before its control plane", Wish{Version: "1.36", Scope: OnePool, Pool: "front"}, "v1.35.4", nil, both("v1.35.4", "v1.35.4"), "", nil,
			[]string{"a kubelet is never newer than its API server", "--control-plane-only --version 1.36.3"}},
		{"a pool that is not there", Wish{Scope: OnePool, Pool: "back"}, "v1.36.3", nil, both("v1.35.4", "v1.35.4"), "", nil, []string{`no pool "back"`}},
		{"while it is on the way", Wish{Version: "1.36.3"}, "v1.36.1", []string{"v1.35.4"}, both("v1.36.1", "v1.36.1"), "", nil, []string{"on the way from v1.35.4 to v1.36.1"}},
		{"while a pool is behind", Wish{Version: "1.36"}, "v1.35.4", nil, both("v1.34.1", "v1.35.4"), "", nil,
			[]string{"pool workers is at v1.34.1 still", "`umbel cluster upgrade dev --pool workers` first"}},
		{"of no class", Wish{Version: "1.36"}, "", nil, nil, "", nil, []string{"it is of no class"}},
	} {
		class := classWith("v1.35.4", "v1.36.1", "v1.36.3")
		got, err := Plan(c.wish, Ground{Cluster: grown(c.from, c.served...), Class: class, Pools: c.pools})
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
		for _, p := range got.Pools {
			moves = append(moves, p.Name)
		}
		if got.To != c.to || !cmp.Equal(moves, c.moves) || got.Idle() != (c.reason == "nothing is left") {
			t.Errorf("%s: planned %+v, want %s of %q", c.reason, got, c.to, c.moves)
		}
	}
}

// TestWhoIsWaitedFor: also those that are told the version already, since they may be on their way.
func TestWhoIsWaitedFor(t *testing.T) {
	class := classWith("v1.36.3")
	for _, c := range []struct {
		wish Wish
		want []string
	}{
		{Wish{Version: "1.36"}, []string{"workers", "front"}},
		{Wish{Version: "1.36", Scope: PlaneOnly}, nil},
		{Wish{Scope: OnePool, Pool: "front"}, []string{"front"}},
	} {
		got, err := Plan(c.wish, Ground{Cluster: grown("v1.36.3"), Class: class, Pools: []Pool{{"workers", "v1.36.3", 2}, {"front", "v1.36.3", 1}}})
		if err != nil || !got.Idle() || !cmp.Equal(got.Scoped, c.want) {
			t.Errorf("%+v: waits for %q, %v; want %q", c.wish, got.Scoped, err, c.want)
		}
	}
}

func TestAnUpgradeIsOrdered(t *testing.T) {
	c := Climb{From: "v1.35.4", To: "v1.36.3", Pools: []Pool{{"front", "v1.35.4", 1}}, Stay: []Pool{{"workers", "v1.35.4", 2}}}
	before := grown("v1.35.4")
	ordered, err := c.Order(before)
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
	if diff := cmp.Diff(want2, c.Lines()); diff != "" {
		t.Errorf("what it says (-want +got):\n%s", diff)
	}
}

// TestWhatBarsAnUpgrade: what is in use and gone, and what is not known of all members of a control plane.
func TestWhatBarsAnUpgrade(t *testing.T) {
	old, lasting := Deprecated{version: "v1", resource: "old", removed: "1.36"}, Deprecated{version: "v1", resource: "lasting", removed: "1.40"}
	for _, c := range []struct {
		reason string
		climb  Climb
		asked  int64
		inUse  []Deprecated
		want   string // part of why not; none when nothing bars it
	}{
		{"nothing is in use", Climb{From: "v1.35.4", To: "v1.36.3", Planes: 1}, 1, nil, ""},
		{"what stays is in use", Climb{From: "v1.35.4", To: "v1.36.3", Planes: 1}, 1, []Deprecated{lasting}, ""},
		{"what goes is in use", Climb{From: "v1.35.4", To: "v1.36.3", Planes: 1}, 1, []Deprecated{old, lasting}, "in use are v1 old"},
		{"one of three was asked", Climb{From: "v1.35.4", To: "v1.36.3", Planes: 3}, 1, nil, "1 of its 3 API servers"},
		{"all three were asked", Climb{From: "v1.35.4", To: "v1.36.3", Planes: 3}, 3, nil, ""},
		{"what goes is in use of one of three", Climb{From: "v1.35.4", To: "v1.36.3", Planes: 3}, 1, []Deprecated{old}, "in use are v1 old"},
		{"one of three was asked, and nothing goes with a patch", Climb{From: "v1.36.1", To: "v1.36.3", Planes: 3}, 1, nil, ""},
	} {
		err := c.climb.Barred(c.inUse, c.asked)
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--despite-removed-apis")) {
			t.Errorf("%s: got %v", c.reason, err)
		}
	}
	class := classWith("v1.35.4", "v1.36.3")
	cluster := grown("v1.35.4")
	if err := unstructured.SetNestedField(cluster.Object, int64(3), "spec", "topology", "controlPlane", "replicas"); err != nil {
		t.Fatal(err)
	}
	if got, err := Plan(Wish{Version: "1.36"}, Ground{Cluster: cluster, Class: class}); err != nil || got.Planes != 3 {
		t.Errorf("it is of %d API servers, %v", got.Planes, err)
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
	for _, d := range DeprecatedIn(metrics) {
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
