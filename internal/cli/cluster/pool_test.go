package cluster

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/lifecycle/ascent"
)

func TestParsePool(t *testing.T) {
	for _, c := range []struct {
		text string
		want machinePool
		err  string
	}{
		{"big=3", machinePool{Name: "big", Replicas: 3}, ""},
		{"big=0,node.cluster.x-k8s.io/size=big,node-role.kubernetes.io/gpu=", machinePool{Name: "big", Labels: map[string]string{"node.cluster.x-k8s.io/size": "big", "node-role.kubernetes.io/gpu": ""}}, ""},
		{"gpu=1,gpu=yes:NoSchedule,x.io/y:NoExecute", machinePool{Name: "gpu", Replicas: 1, Taints: []poolTaint{{"gpu", "yes", "NoSchedule", "Always"}, {"x.io/y", "", "NoExecute", "Always"}}}, ""},
		{"far=1,zone=west,x.io/y:NoExecute", machinePool{Name: "far", Replicas: 1, Zone: "west", Taints: []poolTaint{{"x.io/y", "", "NoExecute", "Always"}}}, ""},
		{"far=1,zone=", machinePool{}, "in one zone"},
		{"far=1,zone=east,zone=west", machinePool{}, "in one zone"},
		{"big", machinePool{}, "NAME=NUMBER"},
		{"big=many", machinePool{}, "NAME=NUMBER"},
		{"big=1,size", machinePool{}, `label "size" is no KEY=VALUE`},
		{"", machinePool{}, "NAME=NUMBER"},
	} {
		got, err := parsePool(c.text)
		if diff := cmp.Diff(c.want, got); diff != "" || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v, want %q (-want +got):\n%s", c.text, err, c.err, diff)
		}
	}
}

func TestCheckPool(t *testing.T) {
	with := func(labels ...string) machinePool {
		p := machinePool{Name: "big", Labels: map[string]string{}}
		for _, l := range labels {
			key, value, _ := strings.Cut(l, "=")
			p.Labels[key] = value
		}
		return p
	}
	for _, c := range []struct {
		reason string
		pool   machinePool
		want   []string
	}{
		{"labels that reach nodes", with("node.cluster.x-k8s.io/size=big", "gpu.node.cluster.x-k8s.io/kind=a", "x.node-restriction.kubernetes.io/a=b", "node-role.kubernetes.io/gpu="), nil},
		{"one that does not", with("size=big"), []string{"label size stays on the machine", "take node.cluster.x-k8s.io/size"}},
		{"a domain that only ends so", with("mynode.cluster.x-k8s.io/size=big"), []string{"stays on the machine"}},
		{"a domain alone", with("node-role.kubernetes.io=x"), []string{"stays on the machine"}},
		{"below another domain", with("x.node-role.kubernetes.io/a=b"), []string{"stays on the machine"}},
		{"no label at all", with("node.cluster.x-k8s.io/a b=c d"), []string{"label node.cluster.x-k8s.io/a b=c d: "}},
		{"taints", machinePool{Name: "big", Taints: []poolTaint{{"gpu", "yes", "NoSchedule", "Always"}, {"gpu", "yes", "NoExecute", "Always"}}}, nil},
		{"one twice", machinePool{Name: "big", Taints: []poolTaint{{"gpu", "yes", "NoSchedule", "Always"}, {"gpu", "no", "NoSchedule", "Always"}}}, []string{"gpu=no:NoSchedule is there twice"}},
		{"no effect", machinePool{Name: "big", Taints: []poolTaint{{"gpu", "", "Never", "Always"}}}, []string{`the effect "Never" is none of NoSchedule, PreferNoSchedule, NoExecute`}},
		{"Kubernetes' own", machinePool{Name: "big", Taints: []poolTaint{{"node.kubernetes.io/unreachable", "", "NoExecute", "Always"}}}, []string{"taints of node.kubernetes.io are Kubernetes' own"}},
		{"no key", machinePool{Name: "big", Taints: []poolTaint{{"", "a b", "NoSchedule", "Always"}}}, []string{"taint =a b:NoSchedule: "}},
		{"a name with a capital", machinePool{Name: "Big"}, []string{`pool "Big": lower case`}},
		{"a long name", machinePool{Name: strings.Repeat("x", 31)}, []string{"at most 30"}},
		{"no name, and fewer than none", machinePool{Replicas: -1}, []string{`pool "": lower case`, "has -1 machines"}},
	} {
		err := c.pool.check()
		if (err == nil) != (len(c.want) == 0) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
		for _, part := range c.want {
			if err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want %q in it", c.reason, err, part)
			}
		}
	}
}

// TestPools: a cluster is given pools, with labels, and they are taken from it; nobody makes machines here, so none are asked for.
func TestPools(t *testing.T) {
	d := newDesk(t)
	c := d.cluster("pooled", nil)
	status := `{"status":{"workers":{"desiredReplicas":1,"replicas":1,"availableReplicas":1}}}`
	if err := d.hub.Status().Patch(t.Context(), c, kube.RawPatch("application/merge-patch+json", []byte(status))); err != nil {
		t.Fatal(err)
	}
	made := object("MachineDeployment", "default", "pooled-workers", map[string]any{"spec": map[string]any{
		"clusterName": "pooled", "replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"of": "pooled"}},
		"template": map[string]any{"metadata": map[string]any{"labels": map[string]any{"of": "pooled"}}, "spec": map[string]any{
			"clusterName": "pooled", "bootstrap": map[string]any{"dataSecretName": "none"},
			"infrastructureRef": map[string]any{"apiGroup": "infrastructure.umbel.dev", "kind": "LocalMachineTemplate", "name": "none"},
		}},
	}})
	made.SetLabels(map[string]string{"cluster.x-k8s.io/cluster-name": "pooled", ascent.PoolLabel: "workers"})
	has := `{"status":{"observedGeneration":1,"replicas":1,"availableReplicas":1}}`
	if err := d.hub.Status().Patch(t.Context(), d.create(&made), kube.RawPatch("application/merge-patch+json", []byte(has))); err != nil {
		t.Fatal(err)
	}
	expect := func(want string, args ...string) {
		t.Helper()
		out, _, err := d.umbel(append([]string{"pool"}, args...)...)
		if err != nil {
			out = err.Error()
		}
		if want == "" && err != nil || !strings.Contains(out, want) {
			t.Errorf("umbel cluster pool %s: got %q, want %q", strings.Join(args, " "), out, want)
		}
	}
	expect("", "add", "pooled", "big", "--workers", "0", "--labels", "node.cluster.x-k8s.io/size=big")
	expect(`has a pool "big" already`, "add", "pooled", "big")
	expect("stays on the machine", "add", "pooled", "wrong", "--labels", "size=big")
	expect("NAME      CLASS    WORKERS   ZONE   LABELS                           TAINTS\nworkers   worker   1         -      -                                -\nbig       worker   0         -      node.cluster.x-k8s.io/size=big   -\n", "list", "pooled")
	expect("it is KEY=VALUE:EFFECT", "add", "pooled", "wrong", "--taint", "gpu=yes")
	expect("", "add", "pooled", "gpu", "--workers", "0", "--taint", "gpu=yes:NoSchedule", "--taint", "x.io/y:NoExecute")
	expect("gpu=yes:NoSchedule,x.io/y:NoExecute", "list", "pooled")
	expect("", "delete", "pooled", "gpu", "--yes")
	expect("", "add", "pooled", "far", "--workers", "0", "--zone", "west")
	expect("far       worker   0         west", "list", "pooled")
	zones := `{"status":{"failureDomains":[{"name":"west"},{"name":"east"}]}}`
	if err := d.hub.Status().Patch(t.Context(), c.DeepCopy(), kube.RawPatch("application/merge-patch+json", []byte(zones))); err != nil {
		t.Fatal(err)
	}
	expect(`has no zone "north" that is ready for machines: it has east, west`, "add", "pooled", "wrong", "--zone", "north")
	expect("", "delete", "pooled", "far", "--yes")
	expect("workers\nbig\n", "list", "pooled", "-o", "name")
	expect(`"node.cluster.x-k8s.io/size": "big"`, "list", "pooled", "-o", "json")
	expect("--workers is -1", "scale", "pooled", "big", "--workers=-1")
	expect(`has no pool "small"`, "scale", "pooled", "small", "--workers", "0")
	expect("", "scale", "pooled", "big", "--workers", "0")
	expect("--min 2 --max 1", "scale", "pooled", "big", "--min", "2", "--max", "1")
	expect("min max", "scale", "pooled", "big", "--min", "1")
	expect("--min and --max", "add", "pooled", "wrong", "--idle", "1m")
	expect("", "scale", "pooled", "big", "--min", "0", "--max", "3", "--idle", "30s")
	expect("big       worker   0-3", "list", "pooled")
	expect(`"idle": "30s"`, "list", "pooled", "-o", "json")
	expect("", "scale", "pooled", "big", "--workers", "0")
	expect("big       worker   0         -      node.cluster.x-k8s.io/size=big", "list", "pooled")
	expect("nothing was deleted", "delete", "pooled", "big")
	expect(`has no pool "small"`, "delete", "pooled", "small", "--yes")
	expect("POOL is missing", "delete", "pooled")
	expect("", "delete", "pooled", "big", "--yes")
	expect("workers\n", "list", "pooled", "-o", "name")
	now := c.DeepCopy()
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(c), now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Object["spec"], now.Object["spec"]); diff != "" {
		t.Errorf("a pool that came and went left (-before +after):\n%s", diff)
	}

	// How it is may have changed since it was read, what is wanted of it may not.
	more := `{"status":{"workers":{"desiredReplicas":1,"replicas":2,"availableReplicas":1}}}`
	if err := d.hub.Status().Patch(t.Context(), now.DeepCopy(), kube.RawPatch("application/merge-patch+json", []byte(more))); err != nil {
		t.Fatal(err)
	}
	change := func(name string) error {
		patch, err := addition(now, machinePool{Name: name, Class: "worker"})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(patch)
		if err != nil {
			t.Fatal(err)
		}
		return d.hub.Patch(t.Context(), now.DeepCopy(), kube.RawPatch(types.JSONPatchType, raw))
	}
	if err := change("since"); err != nil {
		t.Errorf("after its status has changed: %v", err)
	}
	if err := change("late"); !apierrors.IsInvalid(err) {
		t.Errorf("after it was given another pool: got %v", err)
	}
}

// TestTheChangeOfPools tests the generation of what was read: the cluster might have that pool by now.
func TestTheChangeOfPools(t *testing.T) {
	bare := object("Cluster", "default", "bare", map[string]any{"spec": map[string]any{"topology": map[string]any{"version": "v1.36.3"}}})
	bare.SetGeneration(7)
	test := map[string]any{"op": "test", "path": "/metadata/generation", "value": int64(7)}
	big := map[string]any{"class": "worker", "name": "big", "replicas": int64(2)}
	got, err := addition(&bare, machinePool{Name: "big", Class: "worker", Replicas: 2})
	if diff := cmp.Diff([]any{test, map[string]any{"op": "add", "path": "/spec/topology/workers", "value": map[string]any{"machineDeployments": []any{big}}}}, got); err != nil || diff != "" {
		t.Errorf("the first one: %v (-want +got):\n%s", err, diff)
	}
	unstructured.SetNestedSlice(bare.Object, []any{}, "spec", "topology", "workers", "machineDeployments")
	got, err = addition(&bare, machinePool{Name: "big", Class: "worker", Replicas: 2})
	if diff := cmp.Diff([]any{test, map[string]any{"op": "add", "path": "/spec/topology/workers/machineDeployments", "value": []any{big}}}, got); err != nil || diff != "" {
		t.Errorf("after the last one went: %v (-want +got):\n%s", err, diff)
	}
	byHand := object("Cluster", "default", "by-hand", map[string]any{"spec": map[string]any{}})
	if _, err := addition(&byHand, machinePool{Name: "big"}); err == nil || !strings.Contains(err.Error(), "without a class") {
		t.Errorf("without a class: got %v", err)
	}
}
