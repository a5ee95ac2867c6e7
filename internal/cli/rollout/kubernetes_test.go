package rollout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/cluster"
	"umbel.dev/umbel/internal/cli/output"
	cli "umbel.dev/umbel/internal/cli/rollout"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/lifecycle/ascent"
	"umbel.dev/umbel/internal/lifecycle/hosted"
	"umbel.dev/umbel/internal/rollout"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// fleet is a hub's API with the two controllers that bring clusters to another Kubernetes: the one that decides, and the one that
// carries out. Cluster API is played: its kinds take any content, and the test does what a cluster is told.
type fleet struct {
	*testing.T
	hub        kube.Client
	config     *rest.Config
	kubeconfig string
	namespace  string
	ahead      atomic.Int64 // how far the clock is ahead
	stop       func()
	// informer is what the controllers read with; nil for what is usual.
	informer func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer

	mu sync.Mutex
	// old are clusters in which an API is in use that 1.36 does not serve, and stuck those that never get anywhere.
	old, stuck map[string]bool
	// most is how many were on their way at once.
	most int
	// steps are the versions that a cluster has been told, in their order.
	steps map[string][]string
}

const played = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.cluster.x-k8s.io}
spec:
  group: cluster.x-k8s.io
  names: {kind: KIND, listKind: KINDList, plural: PLURAL, singular: SINGULAR}
  scope: Namespaced
  versions:
  - name: v1beta2
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

func newFleet(t *testing.T) *fleet {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme, err := hosted.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		T: t, config: config, kubeconfig: kubetest.Kubeconfig(t, config), namespace: kubetest.Namespace(t, config), stop: func() {},
		old: map[string]bool{}, stuck: map[string]bool{}, steps: map[string][]string{},
	}
	if f.hub, err = kube.New(config, kube.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Cluster", "ClusterClass", "MachineDeployment"} {
		plural := strings.ToLower(name) + "s"
		plural = strings.Replace(plural, "classs", "classes", 1)
		crd := &unstructured.Unstructured{}
		text := strings.NewReplacer("KIND", name, "PLURAL", plural, "SINGULAR", strings.ToLower(name)).Replace(played)
		f.must(yaml.Unmarshal([]byte(text), &crd.Object))
		if err := f.hub.Create(t.Context(), crd); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
	class := object("ClusterClass", f.namespace, "metal", map[string]any{"spec": map[string]any{"kubernetesVersions": []any{"v1.34.1", "v1.35.4", "v1.36.3"}}})
	f.eventually("the kinds are served", func() string {
		if err := f.hub.Create(t.Context(), class.DeepCopy()); err != nil && !apierrors.IsAlreadyExists(err) {
			return err.Error()
		}
		return ""
	})
	t.Cleanup(func() { f.stop() })
	return f
}

func object(kind, namespace, name string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: kind})
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

// start runs both controllers on an API as it is reached by wrap. After stop they may be started again.
func (f *fleet) start(wrap func(http.RoundTripper) http.RoundTripper) {
	f.Helper()
	config := rest.CopyConfig(f.config)
	if wrap != nil {
		config.Wrap(wrap)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: f.hub.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Client: kube.Options{Cache: &kube.CacheOptions{Unstructured: true}}, Cache: cache.Options{NewInformer: f.informer},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true), UsePriorityQueue: new(false)},
	})
	f.must(err)
	ctx, cancel := context.WithCancel(f.Context())
	f.must(rollout.Setup(ctx, mgr, rollout.Needs{
		Digest: func(*v1alpha1.ReleaseSpec, *v1alpha1.MemberCluster) string { return "" },
		Now:    func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) },
	}))
	f.must(ascent.Setup(mgr, func(_ context.Context, at kube.ObjectKey, _ int64) ([]string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.old[at.Name] {
			return []string{`apiserver_requested_deprecated_apis{group="",removed_release="1.36",resource="old",subresource="",version="v1"} 1`}, nil
		}
		return []string{""}, nil
	}))
	var running sync.WaitGroup
	running.Go(func() { _ = mgr.Start(ctx) }) // one that was killed ends as it likes
	f.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

func (f *fleet) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// cluster makes one of a version, which is a connected member of the fleet with the label env=prod.
func (f *fleet) cluster(name, version string) {
	f.Helper()
	c := object("Cluster", f.namespace, name, map[string]any{"spec": map[string]any{"topology": map[string]any{
		"classRef": map[string]any{"name": "metal"}, "version": version,
	}}})
	f.must(f.hub.Create(f.Context(), c))
	f.arrives(c)
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"env": "prod", "of": f.namespace}, Annotations: map[string]string{v1alpha1.ManagedAnnotation: f.namespace + "/" + name},
	}}
	f.must(f.hub.Create(f.Context(), m))
	f.Cleanup(func() { _ = f.hub.Delete(context.WithoutCancel(f.Context()), m) }) // the API ends with the process anyway
	before := m.DeepCopy()
	m.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered, LastTransitionTime: metav1.Now(),
	}}
	f.must(f.hub.Status().Patch(f.Context(), m, kube.MergeFrom(before)))
}

// arrives has all of a cluster be of the version that it is to have, and at work.
func (f *fleet) arrives(c *unstructured.Unstructured) {
	f.Helper()
	version, _, _ := unstructured.NestedString(c.Object, "spec", "topology", "version")
	part := map[string]any{
		"desiredReplicas": int64(1), "replicas": int64(1), "availableReplicas": int64(1), "versions": []any{map[string]any{"version": version, "replicas": int64(1)}},
	}
	c.Object["status"] = map[string]any{
		"controlPlane": part, "workers": part,
		"conditions": []any{map[string]any{"type": "TopologyReconciled", "status": "True", "observedGeneration": c.GetGeneration()}},
	}
	if err := f.hub.Status().Update(f.Context(), c); err != nil && !apierrors.IsConflict(err) {
		f.Fatal(err)
	}
}

func (f *fleet) clusters() []unstructured.Unstructured {
	f.Helper()
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "ClusterList"})
	f.must(f.hub.List(f.Context(), all, kube.InNamespace(f.namespace)))
	return all.Items
}

// play has clusters do what they are told: those that were on their way at the last look arrive.
func (f *fleet) play() {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	underway := 0
	for _, c := range f.clusters() {
		version, _, _ := unstructured.NestedString(c.Object, "spec", "topology", "version")
		if served := ascent.Serves(&c); slices.Equal(served, []string{version}) {
			continue
		}
		underway++
		told := f.steps[c.GetName()]
		if !slices.Contains(told, version) {
			f.steps[c.GetName()] = append(told, version)
			continue
		}
		if !f.stuck[c.GetName()] {
			f.arrives(&c)
		}
	}
	f.most = max(f.most, underway)
}

// stay has clusters get nowhere, or go on.
func (f *fleet) stay(stuck bool, names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		f.stuck[name] = stuck
	}
}

// versions counts clusters by the version that they are to have.
func (f *fleet) versions() map[string]int {
	count := map[string]int{}
	for _, c := range f.clusters() {
		version, _, _ := unstructured.NestedString(c.Object, "spec", "topology", "version")
		count[version]++
	}
	return count
}

// eventually waits until the check has nothing to complain of. Meanwhile the clusters do what they are told.
func (f *fleet) eventually(what string, check func() string) {
	f.Helper()
	deadline := time.After(4 * time.Minute)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		select {
		case <-tick.C:
			f.play()
		case <-deadline:
			f.Fatalf("%s: %s", what, complaint)
		}
	}
}

func (f *fleet) rollout(name string) *v1alpha1.Rollout {
	f.Helper()
	r := &v1alpha1.Rollout{}
	f.must(f.hub.Get(f.Context(), kube.ObjectKey{Namespace: f.namespace, Name: name}, r))
	return r
}

// says waits until a rollout is in a phase and says something.
func (f *fleet) says(name string, phase v1alpha1.RolloutPhase, words string) *v1alpha1.Rollout {
	f.Helper()
	var r *v1alpha1.Rollout
	f.eventually(name+" is "+string(phase), func() string {
		r = f.rollout(name)
		message := ""
		for _, c := range r.Status.Conditions {
			if c.Type == v1alpha1.ConditionProgressing {
				message = c.Message
			}
		}
		if r.Status.Phase == phase && strings.Contains(message, words) {
			return ""
		}
		return fmt.Sprintf("it is %s, %d of %d: %s; clusters: %v", r.Status.Phase, r.Status.Moved, r.Status.Clusters, message, f.versions())
	})
	return r
}

// umbel runs a command: cluster or rollout.
func (f *fleet) umbel(noun func(*client.Factory) *cobra.Command, args ...string) (string, error) {
	f.Helper()
	var out, errs bytes.Buffer
	factory := client.New(output.Streams{Out: &out, Err: &errs})
	factory.Kubeconfig, factory.Namespace = f.kubeconfig, f.namespace
	cmd := noun(factory)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "-n", f.namespace))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err := cmd.ExecuteContext(f.Context())
	return out.String() + errs.String(), err
}

func (f *fleet) does(noun func(*client.Factory) *cobra.Command, want string, args ...string) {
	f.Helper()
	if out, err := f.umbel(noun, args...); err != nil || !strings.Contains(out, want) {
		f.Fatalf("%v: got %v, want %q:\n%s", args, err, want, out)
	}
}

func (f *fleet) refuses(noun func(*client.Factory) *cobra.Command, want string, args ...string) {
	f.Helper()
	if out, err := f.umbel(noun, args...); err == nil || !strings.Contains(err.Error(), want) {
		f.Fatalf("%v: got %v, want %q:\n%s", args, err, want, out)
	}
}

// known waits until the fleet knows how all clusters are.
func (f *fleet) known(number int) {
	f.Helper()
	f.eventually("the fleet knows how its clusters are", func() string {
		var members v1alpha1.MemberClusterList
		f.must(f.hub.List(f.Context(), &members, kube.MatchingLabels{"of": f.namespace}))
		ready := 0
		for _, m := range members.Items {
			if m.Status.Lifecycle != nil && m.Status.Lifecycle.Phase == v1alpha1.LifecycleReady {
				ready++
			}
		}
		if ready != number {
			return fmt.Sprintf("of %d, it knows %d", number, ready)
		}
		return ""
	})
}

// TestAFleetGetsAnotherKubernetes: a canary, then a quarter at a time; one is refused, which stops the others and is named; excused, it
// stays where it is and the others go on. One that is two minors behind waits all the time, and says why.
func TestAFleetGetsAnotherKubernetes(t *testing.T) {
	f := newFleet(t)
	f.start(nil)
	for i := range 12 {
		f.cluster(fmt.Sprintf("metal-%02d", i+1), "v1.35.4")
	}
	f.cluster("metal-old", "v1.34.1")
	f.old["metal-03"] = true
	f.stay(true, "metal-02", "metal-04") // that are on their way with it, until it has failed: with them that is a quarter, and nobody else is told
	f.known(13)
	fleet := []string{"upgrade", "--clusters", "of=" + f.namespace, "--version", "1.36", "--canary", "1", "--max-unavailable", "25%"}
	f.does(cluster.NewCmd, "more than one minor away", append(fleet, "--dry-run")...)
	f.does(cluster.NewCmd, "release: v1.36.3", append(fleet, "--dry-run", "-o", "yaml")...)
	f.does(cluster.NewCmd, "it brings 13 clusters to Kubernetes v1.36.3", fleet...)
	f.refuses(cluster.NewCmd, "there is a rollout kubernetes-v1.36.3 already", fleet...)

	f.eventually("the canary is told", func() string {
		if n := f.versions()["v1.36.3"]; n == 0 {
			return "nobody is"
		}
		return ""
	})
	if n := f.versions()["v1.36.3"]; n != 1 || len(f.rollout("kubernetes-v1.36.3").Status.Stages[0].Moved) != 1 {
		t.Errorf("%d clusters are told at once, though one is to show that it goes well", n)
	}
	f.eventually("one is refused", func() string {
		var m v1alpha1.MemberCluster
		f.must(f.hub.Get(t.Context(), kube.ObjectKey{Name: "metal-03"}, &m))
		if m.Status.Lifecycle.Refused != "v1.36.3" {
			return fmt.Sprintf("%+v", m.Status.Lifecycle)
		}
		return ""
	})
	f.eventually("that is noted", func() string {
		r := f.rollout("kubernetes-v1.36.3")
		if !slices.ContainsFunc(r.Status.Moving, func(group v1alpha1.MovingClusters) bool { return group.Failing != nil }) {
			return fmt.Sprintf("at work are %+v", r.Status.Moving)
		}
		return ""
	})
	f.ahead.Add(int64(20 * time.Second)) // it counts after a quarter of a minute
	f.must(f.hub.Patch(t.Context(), f.rollout("kubernetes-v1.36.3"), kube.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/look":"now"}}}`))))
	f.eventually("it counts", func() string {
		if r := f.rollout("kubernetes-v1.36.3"); r.Status.Failed == 0 {
			return fmt.Sprintf("%+v", r.Status.Stages)
		}
		return ""
	})
	halted := f.says("kubernetes-v1.36.3", v1alpha1.RolloutHalted, "metal-03 failed: in use are v1 old, which Kubernetes 1.36 does not serve any more")
	f.stay(false, "metal-02", "metal-04")
	f.eventually("those that were moved arrive", func() string {
		for _, group := range f.rollout("kubernetes-v1.36.3").Status.Moving {
			if !slices.Equal(group.Clusters, []v1alpha1.ClusterName{"metal-03"}) {
				return fmt.Sprintf("at work are %v", group.Clusters)
			}
		}
		return ""
	})
	if still := f.rollout("kubernetes-v1.36.3"); still.Status.Moved != halted.Status.Moved || still.Status.Moved == 12 {
		t.Errorf("moved are %d, and when it was halted %d", still.Status.Moved, halted.Status.Moved)
	}
	f.does(cli.NewCmd, "metal-03", "status", "rollout/kubernetes-v1.36.3")
	f.refuses(cli.NewCmd, "does not go back", "back", "rollout/kubernetes-v1.36.3")

	f.does(cli.NewCmd, "resumed", "resume", "kubernetes-v1.36.3", "--excuse") // by its name alone, since there is no such package
	f.says("kubernetes-v1.36.3", v1alpha1.RolloutCompleted, "")
	if diff := f.versions(); diff["v1.36.3"] != 11 || diff["v1.35.4"] != 1 || diff["v1.34.1"] != 1 {
		t.Errorf("at last the clusters are %v", diff)
	}
	if f.most > 3 {
		t.Errorf("%d of 13 clusters were on their way at once", f.most)
	}

	// One that comes later has the version that somebody gave it; the one that was behind follows a step later.
	f.cluster("metal-new", "v1.35.4")
	f.does(cluster.NewCmd, "it brings 1 cluster to Kubernetes v1.35.4", "upgrade", "--clusters", "of="+f.namespace, "--version", "1.35.4", "--rollout", "behind")
	f.says("behind", v1alpha1.RolloutCompleted, "")
	f.eventually("the one that was behind follows, step by step", func() string {
		n, told := f.versions(), f.steps["metal-old"]
		if n["v1.36.3"] != 12 || n["v1.35.4"] != 2 || !slices.Equal(told, []string{"v1.35.4", "v1.36.3"}) {
			return fmt.Sprintf("the clusters are %v, and it was brought to %q", n, told)
		}
		return ""
	})
	if told := f.steps["metal-new"]; told != nil {
		t.Errorf("one that came when all was done was brought to %q", told)
	}
}

// TestAFleetGetsAnotherKubernetesWhateverIsKilled: whoever decides and whoever carries out is killed at each write, before it hears what
// became of it. Every cluster gets there, and is told once.
func TestAFleetGetsAnotherKubernetesWhateverIsKilled(t *testing.T) {
	f := newFleet(t)
	names := []string{"frail-1", "frail-2", "frail-3", "frail-4"}
	for _, name := range names {
		f.cluster(name, "v1.35.4")
	}
	kills := 0
	var alive *mortal
	begin := func() {
		f.start(func(next http.RoundTripper) http.RoundTripper { alive = &mortal{next: next}; return alive })
	}
	begin()
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "frail"}}
	r.Spec = v1alpha1.RolloutSpec{
		Kubernetes: &v1alpha1.KubernetesRollout{ClusterSelector: metav1.LabelSelector{MatchLabels: map[string]string{"of": f.namespace}}},
		Release:    "v1.36.3", Strategy: v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{{Name: "all"}}},
	}
	f.must(f.hub.Create(t.Context(), r))
	f.eventually("every cluster gets there", func() string {
		if alive.dead.Load() {
			kills++
			f.stop()
			begin()
		}
		// Those of which nobody had said yet how far they are follow a Rollout that is complete.
		now := f.rollout("frail")
		if now.Status.Phase == v1alpha1.RolloutCompleted && f.versions()["v1.36.3"] == len(names) {
			return ""
		}
		return fmt.Sprintf("after %d kills it is %s, %v", kills, now.Status.Phase, f.versions())
	})
	t.Logf("killed %d times", kills)
	if n := f.versions(); n["v1.36.3"] != len(names) || kills < 3*len(names) {
		t.Errorf("after %d kills the clusters are %v", kills, n)
	}
	for _, name := range names {
		if told := f.steps[name]; !slices.Equal(told, []string{"v1.36.3"}) {
			t.Errorf("%s was told %q", name, told)
		}
	}
	if f.most > 1 {
		t.Errorf("%d clusters were on their way at once", f.most)
	}
}

// lister is one that knows no other list than a list.
type lister struct{ *toolscache.ListWatch }

func (lister) IsWatchListSemanticsUnSupported() bool { return true }

// without reads as is usual, but for the clusters of the fleet: its lists lack one, of which nothing is told later either.
func without(name string) func(toolscache.ListerWatcher, runtime.Object, time.Duration, toolscache.Indexers) toolscache.SharedIndexInformer {
	return func(lw toolscache.ListerWatcher, object runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
		from := toolscache.ToListerWatcherWithContext(lw)
		between := &toolscache.ListWatch{WatchFuncWithContext: from.WatchWithContext}
		between.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := from.ListWithContext(ctx, options)
			if members, ok := list.(*v1alpha1.MemberClusterList); ok {
				members.Items = slices.DeleteFunc(members.Items, func(m v1alpha1.MemberCluster) bool { return m.Name == name })
			}
			return list, err
		}
		return toolscache.NewSharedIndexInformer(lister{between}, object, resync, by)
	}
}

// counting counts how often an object is read by itself.
type counting struct {
	next http.RoundTripper
	of   string
	n    atomic.Int64
}

func (c *counting) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, c.of) {
		c.n.Add(1)
	}
	return c.next.RoundTrip(request)
}

// TestAListThatLacksAClusterEndsNoRollout: one that begins and goes on while the list of clusters lacks one is about that one too, and
// moves nobody until it is seen.
func TestAListThatLacksAClusterEndsNoRollout(t *testing.T) {
	f := newFleet(t)
	for _, name := range []string{"seen-1", "seen-2", "unseen"} {
		f.cluster(name, "v1.35.4")
	}
	f.start(nil)
	f.known(3)
	f.stop()
	asked := &counting{of: "/memberclusters/unseen"}
	f.informer = without("unseen")
	f.start(func(next http.RoundTripper) http.RoundTripper { asked.next = next; return asked })
	f.does(cluster.NewCmd, "it brings 3 clusters to Kubernetes v1.36.3", "upgrade", "--clusters", "of="+f.namespace, "--version", "1.36", "--max-unavailable", "100%")
	f.eventually("the API is asked for the one that the list lacks", func() string {
		if n := asked.n.Load(); n < 3 {
			return fmt.Sprintf("%d times", n)
		}
		if f.rollout("kubernetes-v1.36.3").Status.Clusters == 0 {
			return "nothing is said of it yet"
		}
		return ""
	})
	if r := f.rollout("kubernetes-v1.36.3"); r.Status.Clusters != 3 || r.Status.Moved != 0 || r.Status.Completed != nil {
		t.Errorf("by a list that lacks one of three it is about %d, of which %d are moved: %s", r.Status.Clusters, r.Status.Moved, r.Status.Phase)
	}
	f.stop()
	f.informer = nil
	f.start(nil)
	f.says("kubernetes-v1.36.3", v1alpha1.RolloutCompleted, "")
	if n := f.versions(); n["v1.36.3"] != 3 {
		t.Errorf("at last the clusters are %v", n)
	}
}

// mortal is the way to the API of somebody who dies with each write.
type mortal struct {
	next http.RoundTripper
	dead atomic.Bool
}

func (m *mortal) RoundTrip(request *http.Request) (*http.Response, error) {
	if m.dead.Load() {
		return nil, errors.New("killed")
	}
	answer, err := m.next.RoundTrip(request)
	if request.Method == http.MethodGet || strings.Contains(request.URL.Path, "/events") || err != nil || answer.StatusCode >= 300 {
		return answer, err
	}
	m.dead.Store(true)
	_ = answer.Body.Close()
	return nil, errors.New("killed")
}
