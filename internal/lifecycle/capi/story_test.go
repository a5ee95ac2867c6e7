package capi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/lifecycle/computertest"
	"umbel.dev/umbel/internal/programtest"
)

// asHub in the environment makes this test's program one replica of a hub: its value is the kubeconfig.
const asHub = "UMBEL_TEST_HUB"

func TestMain(m *testing.M) {
	computertest.Main()
	ctrl.SetLogger(logr.Discard())
	if kubeconfig := os.Getenv(asHub); kubeconfig != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := serve(ctx, kubeconfig, os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(kubetest.Main(m))
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	return scheme, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme))
}

// serve is a replica of a hub that runs nothing but this room.
func serve(ctx context.Context, kubeconfig, dir, programs string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: ctrlconfig.Controller{UsePriorityQueue: new(false)}, // as in hub
		LeaderElection: true, LeaderElectionID: "hub", LeaderElectionNamespace: metav1.NamespaceDefault, LeaderElectionReleaseOnCancel: true,
		LeaseDuration: new(15 * time.Second), RenewDeadline: new(12 * time.Second), RetryPeriod: new(time.Second), // a busy machine is late
	})
	if err != nil {
		return err
	}
	if err := Setup(m, Needs{Dir: dir, Programs: programs, Config: config, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}); err != nil {
		return err
	}
	return m.Start(ctx)
}

// world is a hub's API with replicas of a hub.
type world struct {
	*testing.T
	client.Client
	kubeconfig, programs string
	holder               map[string]*replica
}

// replica is one of them, with a folder of its own.
type replica struct {
	dir     string
	command *exec.Cmd
}

func newWorld(t *testing.T) *world {
	t.Helper()
	api, err := kubetest.Run(t.Context(), controlplane.ControllerManager)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	kubetest.InstallCRDs(t, api.Config)
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(api.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Client: c, kubeconfig: kubetest.Kubeconfig(t, api.Config), programs: filepath.Dir(kube)}
	programtest.Alone(t, "capd")
	for _, name := range []string{coreProgram, "capd.yaml"} {
		if _, err := os.Stat(filepath.Join(w.programs, name)); err != nil {
			t.Fatalf("%v: `make capd` builds it", err)
		}
	}
	return w
}

// hub starts a replica, on whose machine the provider dev lies.
func (w *world) hub() *replica {
	w.Helper()
	dir := w.TempDir()
	dev := FolderOf(dir, "dev")
	err := errors.Join(
		os.MkdirAll(string(dev), 0o700),
		os.Symlink(filepath.Join(w.programs, "capd"), dev.Program()), os.Symlink(filepath.Join(w.programs, "capd.yaml"), dev.Components()),
	)
	if err != nil {
		w.Fatal(err)
	}
	r := &replica{dir: dir, command: exec.Command(os.Args[0], dir, w.programs)}
	r.command.Env = append(os.Environ(), asHub+"="+w.kubeconfig)
	r.command.Stderr = os.Stderr
	if err := r.command.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(r.end)
	return r
}

// end ends a replica in order, kill as a machine that dies.
func (r *replica) end() {
	if r.command.ProcessState == nil {
		_ = r.command.Process.Signal(syscall.SIGTERM)
		_ = r.command.Wait()
	}
}

func (r *replica) kill() {
	_ = r.command.Process.Kill()
	_ = r.command.Wait()
}

// runs returns the process of a replica's provider, 0 when there is none: its kubeconfig in the arguments tells whose it is.
func (r *replica) runs(w *world, provider string) int {
	w.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		w.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		args, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err == nil && strings.Contains(string(args), "--kubeconfig="+FolderOf(r.dir, provider).kubeconfig()+"\x00") {
			return pid
		}
	}
	return 0
}

// busy is how long a busy computer may take for what takes seconds.
const busy = 3 * time.Minute

func (w *world) eventually(what string, within time.Duration, check func(context.Context) error) {
	w.Helper()
	begun := time.Now()
	var last error
	err := wait.PollUntilContextTimeout(w.Context(), 100*time.Millisecond, within, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if last == nil || ctx.Err() == nil { // that the time is up is not what was seen last
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		w.Fatalf("%s: %v (last: %v)", what, err, last)
	}
	w.Logf("%s: after %s", what, time.Since(begun).Round(100*time.Millisecond))
}

// reason checks that a Provider is Ready, or not, for a reason.
func (w *world) reason(provider, want string, in ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		var p v1alpha1.Provider
		if err := w.Get(ctx, client.ObjectKey{Name: provider}, &p); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil {
			return errors.New("nothing is said of it")
		}
		for _, part := range in {
			if !strings.Contains(ready.Message, part) {
				return fmt.Errorf("%s: %s: nothing of %q", ready.Reason, ready.Message, part)
			}
		}
		if ready.Reason != want {
			return fmt.Errorf("%s: %s", ready.Reason, ready.Message)
		}
		return nil
	}
}

func object(kind, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: kind})
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetName(name)
	return o
}

func (w *world) gone(o client.Object) func(context.Context) error {
	return func(ctx context.Context) error {
		err := w.Get(ctx, client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return nil
		}
		return fmt.Errorf("%s %s is there (%v)", o.GetObjectKind().GroupVersionKind().Kind, o.GetName(), err)
	}
}

// remove has an object be deleted. A class is refused that as long as Cluster API's own cache has a cluster of it, which may be gone already.
func (w *world) remove(o client.Object) {
	w.Helper()
	w.eventually(o.GetObjectKind().GroupVersionKind().Kind+" "+o.GetName()+" is to go", busy, func(ctx context.Context) error {
		return client.IgnoreNotFound(w.Delete(ctx, o))
	})
}

// create makes the objects of a file of testdata.
func (w *world) create(file string) []*unstructured.Unstructured {
	w.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		w.Fatal(err)
	}
	objects, err := Parse(raw)
	if err != nil {
		w.Fatal(err)
	}
	for _, o := range objects {
		o.SetNamespace(metav1.NamespaceDefault)
		if err := w.Create(w.Context(), o); err != nil {
			w.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	return objects
}

// TestAClusterFromItsClassToItsEnd is the whole way, with Cluster API's own in-memory provider in the place of an
// infrastructure. In the middle of it the hub that leads dies.
func TestAClusterFromItsClassToItsEnd(t *testing.T) {
	w := newWorld(t)
	first := w.hub()
	w.eventually("a hub leads", busy, func(ctx context.Context) error {
		return w.leads(ctx, first)
	})
	second := w.hub()
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crds)
	crd.Name = "clusters.cluster.x-k8s.io"
	if err := w.gone(crd)(t.Context()); err != nil {
		t.Errorf("before anybody asked: %v", err)
	}

	dev := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "dev"}, Spec: v1alpha1.ProviderSpec{Args: []string{"--feature-gates=ClusterTopology=true"}}}
	if err := w.Create(t.Context(), dev); err != nil {
		t.Fatal(err)
	}
	w.eventually("Cluster API serves", busy, w.reason(v1alpha1.CoreProvider, v1alpha1.ReasonServing))
	w.eventually("its provider serves", busy, w.reason("dev", v1alpha1.ReasonServing))
	if pid := second.runs(w, v1alpha1.CoreProvider); pid != 0 {
		t.Errorf("a replica that does not lead runs Cluster API as well (process %d)", pid)
	}

	class := w.create("class.yaml")
	w.eventually("the class is read", busy, func(ctx context.Context) error {
		o := object("ClusterClass", "in-memory")
		if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		return conditionIs(o, "VariablesReady", "True")
	})
	w.refusals()
	w.unrendered(class[len(class)-1])

	w.create("cluster.yaml")
	cluster := object("Cluster", "one")
	w.eventually("the cluster is begun", busy, w.phase(cluster, "Provisioning", "Provisioned"))
	first.kill()
	w.eventually("the other hub leads", busy, func(ctx context.Context) error { return w.leads(ctx, second) })
	w.eventually("it runs both", busy, func(context.Context) error {
		if second.runs(w, v1alpha1.CoreProvider) == 0 || second.runs(w, "dev") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	if pid := first.runs(w, v1alpha1.CoreProvider); pid != 0 {
		t.Errorf("the hub that died left Cluster API behind (process %d)", pid)
	}
	w.eventually("the cluster is provisioned", 4*time.Minute, w.phase(cluster, "Provisioned"))
	w.eventually("its control plane is initialised", 4*time.Minute, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
			return err
		}
		return conditionIs(cluster, "ControlPlaneInitialized", "True")
	})
	w.eventually("it is available", 4*time.Minute, w.available(cluster, 1))
	w.eventually("three workers are asked for", busy, func(ctx context.Context) error { // webhooks of the hub that leads now may not answer yet
		return w.Patch(ctx, cluster, client.RawPatch("application/json-patch+json", []byte(`[{"op": "replace", "path": "/spec/topology/workers/machineDeployments/0/replicas", "value": 3}]`)))
	})
	w.eventually("it has three workers", 4*time.Minute, w.available(cluster, 3))
	w.speaksOld(second, cluster)
	w.repairs(cluster)
	w.memory(second, v1alpha1.CoreProvider, "dev")

	runs := second.runs(w, "dev")
	core := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.CoreProvider}}
	if err := w.Delete(t.Context(), core); err != nil {
		t.Fatal(err)
	}
	w.eventually("Cluster API stays for its provider", busy, w.reason(v1alpha1.CoreProvider, v1alpha1.ReasonInUse, "provider dev", "clusters default/one"))
	if err := w.Delete(t.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "dev"}}); err != nil {
		t.Fatal(err)
	}
	w.eventually("its provider stays for it", busy, w.reason("dev", v1alpha1.ReasonInUse, "devclusters default/one-"))
	if again := second.runs(w, "dev"); again != runs {
		t.Errorf("the provider that is to end clusters was process %d, and is %d", runs, again)
	}
	if err := w.Delete(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	w.eventually("the cluster is gone", 4*time.Minute, w.gone(cluster))
	for _, o := range class {
		w.remove(o)
	}
	w.eventually("its provider is gone", busy, w.gone(&v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "dev"}}))
	w.eventually("Cluster API is gone", busy, w.gone(core))
	w.eventually("and its kinds", busy, w.gone(crd))
	for _, provider := range []string{v1alpha1.CoreProvider, "dev"} {
		if pid := second.runs(w, provider); pid != 0 {
			t.Errorf("%s runs on as process %d", provider, pid)
		}
	}
	w.foreign(second)
}

func (w *world) leads(ctx context.Context, r *replica) error {
	lease := &unstructured.Unstructured{}
	lease.SetAPIVersion("coordination.k8s.io/v1")
	lease.SetKind("Lease")
	if err := w.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "hub"}, lease); err != nil {
		return err
	}
	holder, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	if w.holder == nil {
		w.holder = map[string]*replica{}
	}
	if known := w.holder[holder]; holder == "" || known != nil && known != r {
		return fmt.Errorf("%q leads", holder)
	}
	w.holder[holder] = r
	return nil
}

// refusals tries what Cluster API's webhooks are to refuse, with the reason.
func (w *world) refusals() {
	w.Helper()
	for _, c := range []struct {
		reason string
		change func(cluster *unstructured.Unstructured)
		kind   string
		want   string
	}{
		{"a class that does not render", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"name": "p", "definitions": []any{map[string]any{
				"selector":    map[string]any{"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevClusterTemplate", "matchResources": map[string]any{"infrastructureCluster": true}},
				"jsonPatches": []any{map[string]any{"op": "add", "path": "/spec/template/spec/x", "valueFrom": map[string]any{"template": "{{ .unclosed"}}},
			}}}}, "spec", "patches")
		}, "ClusterClass", "template"},
		{"a pool of a class that is not there", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"class": "nothing-such", "name": "md-0", "replicas": int64(1)}}, "spec", "topology", "workers", "machineDeployments")
		}, "Cluster", "nothing-such"},
		{"a variable that the class has not", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"name": "nothing-such", "value": "x"}}, "spec", "topology", "variables")
		}, "Cluster", "nothing-such"},
		{"a taint that is Kubernetes' own", func(o *unstructured.Unstructured) {
			pools, _, _ := unstructured.NestedSlice(o.Object, "spec", "topology", "workers", "machineDeployments")
			pools[0].(map[string]any)["taints"] = []any{map[string]any{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "propagation": "Always"}}
			_ = unstructured.SetNestedSlice(o.Object, pools, "spec", "topology", "workers", "machineDeployments")
		}, "Cluster", "must not have the prefix node.kubernetes.io/"},
		{"no version", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, "latest", "spec", "topology", "version")
		}, "Cluster", "version"},
	} {
		file := map[string]string{"ClusterClass": "class.yaml", "Cluster": "cluster.yaml"}[c.kind]
		raw, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			w.Fatal(err)
		}
		objects, err := Parse(raw)
		if err != nil {
			w.Fatal(err)
		}
		o := objects[len(objects)-1]
		o.SetNamespace(metav1.NamespaceDefault)
		o.SetName("refused")
		c.change(o)
		err = w.Create(w.Context(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "admission webhook") {
			w.Errorf("%s: got %v, want a refusal that says %q", c.reason, err, c.want)
		}
	}
}

// unrendered: a class may be admitted, and say nonsense about the templates that it names. Its clusters say so, and nothing is made of them.
func (w *world) unrendered(class *unstructured.Unstructured) {
	w.Helper()
	bad := object("ClusterClass", "unrendered")
	spec, _, _ := unstructured.NestedMap(class.Object, "spec")
	spec["patches"] = []any{map[string]any{"name": "astray", "definitions": []any{map[string]any{
		"selector":    map[string]any{"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2", "kind": "DevClusterTemplate", "matchResources": map[string]any{"infrastructureCluster": true}},
		"jsonPatches": []any{map[string]any{"op": "add", "path": "/spec/template/spec/nothing/such", "value": "x"}},
	}}}}
	bad.Object["spec"] = spec
	if err := w.Create(w.Context(), bad); err != nil {
		w.Fatalf("a class whose patch goes astray: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join("testdata", "cluster.yaml"))
	if err != nil {
		w.Fatal(err)
	}
	objects, err := Parse(raw)
	if err != nil {
		w.Fatal(err)
	}
	cluster := objects[0]
	cluster.SetNamespace(metav1.NamespaceDefault)
	cluster.SetName("unrendered")
	if err := unstructured.SetNestedField(cluster.Object, "unrendered", "spec", "topology", "classRef", "name"); err != nil {
		w.Fatal(err)
	}
	if err := w.Create(w.Context(), cluster); err != nil {
		w.Fatal(err)
	}
	w.eventually("it is said why the class does not render", busy, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
			return err
		}
		err := conditionIs(cluster, "TopologyReconciled", "True")
		if err == nil || !strings.Contains(err.Error(), "TopologyReconciled is False") || !strings.Contains(err.Error(), "/spec/template/spec/nothing/such") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	all := &unstructured.UnstructuredList{Object: object("MachineDeploymentList", "").Object}
	if err := w.List(w.Context(), all, client.InNamespace(metav1.NamespaceDefault)); err != nil || len(all.Items) > 0 {
		w.Errorf("of a class that does not render, this was made: %v (%v)", all.Items, err)
	}
	for _, o := range []*unstructured.Unstructured{cluster, bad} {
		w.remove(o)
		w.eventually(o.GetKind()+" unrendered is gone", busy, w.gone(o))
	}
}

// machines are the workers of cluster one, by their names.
func (w *world) machines(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	all := &unstructured.UnstructuredList{Object: object("MachineList", "").Object}
	err := w.List(ctx, all, client.InNamespace(metav1.NamespaceDefault), client.MatchingLabels{"topology.cluster.x-k8s.io/deployment-name": "md-0"})
	machines := map[string]*unstructured.Unstructured{}
	for i := range all.Items {
		machines[all.Items[i].GetName()] = &all.Items[i]
	}
	return machines, err
}

// is has a machine say of itself, since a moment that may be to come, how it does.
func (w *world) is(machine *unstructured.Unstructured, well string, since time.Time) {
	w.Helper()
	w.eventually(machine.GetName()+" says "+well, busy, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(machine), machine); err != nil {
			return err
		}
		list, _, _ := unstructured.NestedSlice(machine.Object, "status", "conditions")
		list = slices.DeleteFunc(list, func(item any) bool { return item.(map[string]any)["type"] == "Well" })
		list = append(list, map[string]any{"type": "Well", "status": well, "reason": "Said", "message": "", "lastTransitionTime": since.UTC().Format(time.RFC3339)})
		if err := unstructured.SetNestedSlice(machine.Object, list, "status", "conditions"); err != nil {
			return err
		}
		return w.Status().Update(ctx, machine)
	})
}

// repairs: of three workers that are ill, which is more than the class's budget, none is replaced. When one is well again two are ill: they
// are replaced, one at a time, and the one that is well stays.
func (w *world) repairs(cluster *unstructured.Unstructured) {
	w.Helper()
	before, err := w.machines(w.Context())
	if err != nil || len(before) != 3 {
		w.Fatalf("the workers are %v (%v)", before, err)
	}
	since := time.Now().Add(20 * time.Second) // the same for all: were one ill first, it would be replaced
	names := slices.Sorted(maps.Keys(before))
	for _, name := range names {
		w.is(before[name], "False", since)
	}
	w.eventually("three that are ill are too many", busy, func(ctx context.Context) error {
		pool := before[names[0]].GetLabels()["cluster.x-k8s.io/deployment-name"]
		check := object("MachineHealthCheck", pool)
		// Of more than its range, whose time is not up, Cluster API does not come back when it is, but when something changes.
		look := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/look":"%d"}}}`, time.Now().Unix())
		if err := w.Patch(ctx, check, client.RawPatch("application/merge-patch+json", look)); err != nil {
			return err
		}
		err := conditionIs(check, "RemediationAllowed", "True")
		if err == nil || !strings.Contains(err.Error(), "unhealthy: 3, unhealthyRange: [1-2]") {
			return fmt.Errorf("it says %v", err)
		}
		return nil
	})
	now, err := w.machines(w.Context())
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(now)), names) {
		w.Errorf("all three are ill: they were %v, and are %v (%v)", names, now, err)
	}
	for name, m := range now {
		if m.GetDeletionTimestamp() != nil || conditionIs(m, "OwnerRemediated", "False") == nil {
			w.Errorf("all three are ill, and %s is being replaced", name)
		}
	}

	w.is(before[names[0]], "True", time.Now())
	w.eventually("two that are ill are replaced", 4*time.Minute, func(ctx context.Context) error {
		now, err := w.machines(ctx)
		if err != nil {
			return err
		}
		ending := 0
		for _, m := range now {
			if m.GetDeletionTimestamp() != nil {
				ending++
			}
		}
		if ending > 1 {
			w.Errorf("%d machines are taken away at once: %v", ending, slices.Sorted(maps.Keys(now)))
		}
		if now[names[0]] == nil || now[names[0]].GetDeletionTimestamp() != nil {
			w.Fatalf("%s is well, and was taken away", names[0])
		}
		if now[names[1]] != nil || now[names[2]] != nil || len(now) != 3 {
			return fmt.Errorf("there are %v", slices.Sorted(maps.Keys(now)))
		}
		return nil
	})
	w.eventually("it has three workers again", 4*time.Minute, w.available(cluster, 3))
}

func (w *world) phase(cluster *unstructured.Unstructured, wants ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
			return err
		}
		phase, _, _ := unstructured.NestedString(cluster.Object, "status", "phase")
		for _, want := range wants {
			if phase == want {
				return nil
			}
		}
		return fmt.Errorf("it is %q", phase)
	}
}

// available says whether all is as the cluster asks for, with so many workers.
func (w *world) available(cluster *unstructured.Unstructured, workers int64) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(cluster), cluster); err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedInt64(cluster.Object, "status", "workers", "availableReplicas"); got != workers {
			return fmt.Errorf("%d of %d workers are available: %v", got, workers, cluster.Object["status"])
		}
		return conditionIs(cluster, "Available", "True")
	}
}

func conditionIs(o *unstructured.Unstructured, kind, want string) error {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, item := range list {
		if c, ok := item.(map[string]any); ok && c["type"] == kind {
			if c["status"] != want {
				return fmt.Errorf("%s is %v: %v", kind, c["status"], c["message"])
			}
			return nil
		}
	}
	return fmt.Errorf("nothing is said of %s", kind)
}

// memory writes down what the processes of providers take.
func (w *world) memory(r *replica, providers ...string) {
	for _, provider := range providers {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.runs(w, provider)))
		if err != nil {
			w.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmRSS") {
				w.Logf("%s: %s", provider, strings.Join(strings.Fields(line), " "))
			}
		}
	}
}

// foreign has somebody else bring one of Cluster API's kinds: the hub starts nothing, and changes nothing of it.
// oldProvider is what a provider releases that keeps Cluster API's old contract alone.
const oldProvider = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: oldclusters.infrastructure.cluster.x-k8s.io, labels: {cluster.x-k8s.io/v1beta1: v1beta1}}
spec:
  group: infrastructure.cluster.x-k8s.io
  names: {kind: OldCluster, listKind: OldClusterList, plural: oldclusters, singular: oldcluster}
  scope: Namespaced
  versions: [{name: v1beta1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`

// speaksOld adds a provider that knows Cluster API's kinds in their old versions alone: these are served from then on, and not before.
func (w *world) speaksOld(hub *replica, cluster *unstructured.Unstructured) {
	w.Helper()
	old := object("Cluster", cluster.GetName())
	old.SetAPIVersion("cluster.x-k8s.io/v1beta1")
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(old), old); !meta.IsNoMatchError(err) {
		w.Errorf("a deprecated version that nobody needs: got %v, want that it is not served", err)
	}
	folder := FolderOf(hub.dir, "old")
	err := errors.Join(
		os.MkdirAll(string(folder), 0o700),
		os.Symlink("/bin/false", folder.Program()), os.WriteFile(folder.Components(), []byte(oldProvider), 0o600),
		w.Create(w.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "old"}}),
	)
	if err != nil {
		w.Fatal(err)
	}
	w.eventually("Clusters are served in their old version", time.Minute, func(ctx context.Context) error {
		return w.Get(ctx, client.ObjectKeyFromObject(old), old)
	})
	if class, _, _ := unstructured.NestedString(old.Object, "spec", "topology", "class"); class != "in-memory" {
		w.Errorf("in its old version the cluster is of class %q", class)
	}
	provider := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "old"}}
	if err := w.Delete(w.Context(), provider); err != nil {
		w.Fatal(err)
	}
	w.eventually("the old provider is gone", time.Minute, w.gone(provider))
}

func (w *world) foreign(hub *replica) {
	w.Helper()
	manifests, err := Needs{Programs: w.programs}.manifests(w.Context(), v1alpha1.CoreProvider, v1alpha1.ProviderSpec{})
	if err != nil {
		w.Fatal(err)
	}
	for _, theirs := range manifests {
		if theirs.GetName() != "clusters.cluster.x-k8s.io" {
			continue
		}
		if err := w.Create(w.Context(), theirs); err != nil {
			w.Fatal(err)
		}
		core := &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.CoreProvider}}
		if err := w.Create(w.Context(), core); err != nil {
			w.Fatal(err)
		}
		w.eventually("the hub leaves it to others", busy, w.reason(v1alpha1.CoreProvider, v1alpha1.ReasonForeign, "clusters.cluster.x-k8s.io"))
		now := theirs.DeepCopy()
		if err := w.Get(w.Context(), client.ObjectKeyFromObject(theirs), now); err != nil {
			w.Fatal(err)
		}
		if now.GetGeneration() != theirs.GetGeneration() || now.GetLabels()[v1alpha1.ProviderLabel] != "" {
			w.Errorf("the hub changed what is somebody else's: %v", now.GetLabels())
		}
		if pid := hub.runs(w, v1alpha1.CoreProvider); pid != 0 {
			w.Errorf("it runs Cluster API beside theirs (process %d)", pid)
		}
		return
	}
	w.Fatal("Cluster API's manifests have no Clusters")
}
