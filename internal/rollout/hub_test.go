package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/rollout"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// hub is the rollout controller of one namespace against a real API, with a clock of the test's own. The test is delivery,
// placement and the clusters.
type hub struct {
	client.Client
	t         *testing.T
	config    *rest.Config
	namespace string
	ahead     atomic.Int64 // how far its clock is ahead
	// blocked are the clusters that wait for something else, as delivery says.
	blocked atomic.Pointer[map[v1alpha1.ClusterName]string]
	// measured is what metrics answer; nil where there are none.
	measured func(query string, clusters []v1alpha1.ClusterName) (bool, error)
	stop     func()
}

func newHub(t *testing.T) *hub {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	h := &hub{t: t, config: config, namespace: kubetest.Namespace(t, config)}
	var err error
	if h.Client, err = client.New(config, client.Options{Scheme: scheme(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.stop() })
	h.start()
	return h
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start runs the controller. After stop it may be started again.
func (h *hub) start() {
	h.t.Helper()
	again := true
	mgr, err := ctrl.NewManager(h.config, ctrl.Options{
		Scheme: scheme(h.t), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{h.namespace: {}}},
		Controller: ctrlconfig.Controller{SkipNameValidation: &again, UsePriorityQueue: new(false)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	err = rollout.Setup(ctx, mgr, rollout.Needs{
		Digest: func(r *v1alpha1.ReleaseSpec, _ *v1alpha1.MemberCluster) string { return r.Variants[0].Digest },
		Waits: func(context.Context, *v1alpha1.Package, *v1alpha1.Rollout, *v1alpha1.Release) (map[v1alpha1.ClusterName]string, error) {
			if blocked := h.blocked.Load(); blocked != nil {
				return *blocked, nil
			}
			return nil, nil
		},
		Ask: h.ask(),
		Now: func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) },
	})
	if err != nil {
		h.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			h.t.Errorf("the manager ended: %v", err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
}

func (h *hub) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// eventually waits until the check has nothing to complain of. Meanwhile the clusters do what they are told.
func (h *hub) eventually(what string, check func() string) {
	h.t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		complaint := check()
		if complaint == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			h.t.Fatalf("%s: %s", what, complaint)
		}
	}
}

// fleet makes connected clusters, placed by the Placement everywhere, and a Package shop with a strategy.
func (h *hub) fleet(strategy *v1alpha1.RolloutStrategy, names ...string) []v1alpha1.ClusterName {
	h.t.Helper()
	var clusters []v1alpha1.ClusterName
	for _, name := range names {
		m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: h.namespace + "-" + name}}
		h.must(h.Create(h.t.Context(), m))
		h.t.Cleanup(func() { _ = h.Delete(context.WithoutCancel(h.t.Context()), m) }) // the API ends with the process anyway
		clusters = append(clusters, v1alpha1.ClusterName(m.Name))
		h.says(clusters[len(clusters)-1], "", v1alpha1.PackageApplied)
	}
	p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "everywhere"}}
	h.must(h.Create(h.t.Context(), p))
	p.Status.Clusters, p.Status.Selected, p.Status.ObservedGeneration = clusters, int32(len(clusters)), p.Generation
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDecided, ObservedGeneration: p.Generation,
	})
	h.must(h.Status().Update(h.t.Context(), p))
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "shop"}}
	pkg.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git"}
	pkg.Spec.PlacementRef.Name, pkg.Spec.Rollout = "everywhere", strategy
	h.must(h.Create(h.t.Context(), pkg))
	return clusters
}

// says has a cluster say that it holds a release in a phase; none when the release is empty.
func (h *hub) says(name v1alpha1.ClusterName, release string, phase v1alpha1.MemberPackagePhase) {
	h.t.Helper()
	var m v1alpha1.MemberCluster
	h.must(h.Get(h.t.Context(), client.ObjectKey{Name: string(name)}, &m))
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered, Message: "by the test",
	})
	m.Status.Packages = nil
	if release != "" {
		m.Status.Packages = []v1alpha1.MemberPackage{{
			Package: v1alpha1.KeyOf(h.namespace, "shop"), Release: release, Digest: digest(release), Phase: phase, Objects: 1, Healthy: 1,
		}}
	}
	h.must(h.Status().Update(h.t.Context(), &m))
}

func digest(release string) string { return fmt.Sprintf("sha256:%064x", []byte(release)) }

// release makes one the Package's current.
func (h *hub) release(name string) {
	h.t.Helper()
	r := &v1alpha1.Release{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}}
	r.Spec = v1alpha1.ReleaseSpec{
		PackageRef: v1alpha1.LocalReference{Name: "shop"}, Source: v1alpha1.Source{Inline: &v1alpha1.InlineSource{}}, Revision: name, Repository: "shop",
		Variants: []v1alpha1.Variant{{Digest: digest(name), Size: 1, Objects: 1}},
	}
	h.must(h.Create(h.t.Context(), r))
	var pkg v1alpha1.Package
	h.must(h.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "shop"}, &pkg))
	pkg.Status.Release = name
	h.must(h.Status().Update(h.t.Context(), &pkg))
}

func (h *hub) rollout(number int64) *v1alpha1.Rollout {
	h.t.Helper()
	var r v1alpha1.Rollout
	err := h.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: v1alpha1.RolloutName("shop", number)}, &r)
	if client.IgnoreNotFound(err) != nil {
		h.t.Fatal(err)
	}
	return &r
}

// waits for a rollout to say REASON MOVED/CLUSTERS.
func (h *hub) waits(number int64, want string) *v1alpha1.Rollout {
	h.t.Helper()
	var r *v1alpha1.Rollout
	h.eventually(fmt.Sprintf("rollout %d", number), func() string {
		r = h.rollout(number)
		got := "nothing"
		if c := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing); c != nil {
			got = fmt.Sprintf("%s %d/%d", c.Reason, r.Status.Moved, r.Status.Clusters)
		}
		if got == want {
			return ""
		}
		return fmt.Sprintf("got %q, want %q", got, want)
	})
	return r
}

// change patches the spec of a rollout, as people do.
func (h *hub) change(number int64, change func(*v1alpha1.RolloutSpec)) error {
	h.t.Helper()
	r := h.rollout(number)
	base := client.MergeFrom(r.DeepCopy())
	change(&r.Spec)
	return h.Patch(h.t.Context(), r, base)
}

func pairs() *v1alpha1.RolloutStrategy {
	one, two := intstr.FromInt32(1), intstr.FromInt32(2)
	return &v1alpha1.RolloutStrategy{
		Stages:    []v1alpha1.RolloutStage{{Name: "all", Canary: &one, MaxUnavailable: &two, Bake: &metav1.Duration{Duration: time.Minute}}},
		OnFailure: v1alpha1.FailureRollback,
	}
}

// TestARollout is the main story against a real API, with a hub that is killed in the middle of it.
func TestARollout(t *testing.T) {
	h := newHub(t)
	c := h.fleet(pairs(), "a", "b", "c")
	h.release("shop-a")
	r := h.waits(1, "Moving 1/3")
	if r.Status.Stages[0].Moved[0] != c[0] || r.Orders().For(c[0]) != "shop-a" || r.Orders().For(c[1]) != "" {
		t.Errorf("got %+v", r.Status)
	}
	h.says(c[0], "shop-a", v1alpha1.PackageApplied)
	h.waits(1, "Baking 1/3")

	h.stop() // for an hour: nobody looks, and a minute of that counts at most
	h.ahead.Add(int64(time.Hour))
	h.start()
	h.ahead.Add(int64(50 * time.Second))
	h.must(h.change(1, func(s *v1alpha1.RolloutSpec) { s.Excused = []v1alpha1.ClusterName{"nobody"} })) // that it looks
	r = h.waits(1, "Moving 3/3")
	if r.Spec.Number != 1 || len(r.Status.Moving) == 0 {
		t.Errorf("got %+v", r)
	}
	h.says(c[1], "shop-a", v1alpha1.PackageApplied)
	h.says(c[2], "shop-a", v1alpha1.PackageApplied)
	h.waits(1, "Baking 3/3")
	h.must(h.change(1, func(s *v1alpha1.RolloutSpec) { s.Promoted = []string{"all"} }))
	r = h.waits(1, "Complete 3/3")
	if len(r.Status.Stages[0].Moved) != 0 || r.Orders().For(c[2]) != "shop-a" {
		t.Errorf("a rollout at rest: %+v", r.Status)
	}

	h.release("shop-b")
	h.waits(2, "Moving 1/3")
	if done := h.rollout(1); done.Status.Successor != "shop-2" || done.Status.Phase != v1alpha1.RolloutCompleted {
		t.Errorf("the one before: %+v", done.Status)
	}
	h.says(c[0], "shop-b", v1alpha1.PackageFailed)
	h.waits(2, "Moving 1/3")
	h.eventually("the failure is noted", func() string {
		if m := h.rollout(2).Status.Moving; len(m) != 1 || m[0].Failing == nil {
			return fmt.Sprintf("got %+v", m)
		}
		return ""
	})
	h.ahead.Add(int64(20 * time.Second))
	h.must(h.change(2, func(s *v1alpha1.RolloutSpec) { s.Excused = []v1alpha1.ClusterName{"nobody"} }))
	h.waits(2, "RolledBack 1/3")
	h.waits(3, "Moving 3/3")
	h.says(c[0], "shop-a", v1alpha1.PackageApplied)
	r = h.waits(3, "Complete 3/3")
	if r.Spec.Purpose != v1alpha1.RolloutBack || r.Spec.Newest != "shop-b" {
		t.Errorf("the way back: %+v", r.Spec)
	}

	h.must(h.Delete(t.Context(), &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: "shop"}}))
	h.eventually("the rollouts go with their package", func() string {
		var list v1alpha1.RolloutList
		h.must(h.List(t.Context(), &list, client.InNamespace(h.namespace)))
		if len(list.Items) > 0 {
			return fmt.Sprintf("%d are left", len(list.Items))
		}
		return ""
	})
}

// TestClustersThatWait: they are named, not moved, and fail nothing; once the Package's conditions tell that they need not wait any more
// they follow.
func TestClustersThatWait(t *testing.T) {
	h := newHub(t)
	c := h.fleet(pairs(), "a", "b")
	why := "package default/db is not healthy on this cluster"
	h.blocked.Store(&map[v1alpha1.ClusterName]string{c[0]: why, c[1]: why})
	h.release("shop-a")
	r := h.waits(1, "AwaitingClusters 0/2")
	if r.Status.BlockedBy(c[0]) != why || r.Status.BlockedBy(c[1]) != why || len(r.Status.Blocked) != 1 {
		t.Errorf("who waits for what: %+v", r.Status.Blocked)
	}
	says := func() string {
		return meta.FindStatusCondition(h.rollout(1).Status.Conditions, v1alpha1.ConditionProgressing).Message
	}
	if got := says(); !strings.Contains(got, "2 clusters wait: ") || !strings.Contains(got, why) {
		t.Errorf("it says %q", got)
	}
	h.blocked.Store(&map[v1alpha1.ClusterName]string{c[1]: why})
	h.delivers("1 cluster waits")
	r = h.waits(1, "Moving 1/2")
	if r.Orders().For(c[0]) != "shop-a" || r.Orders().For(c[1]) != "" {
		t.Errorf("moved are %v", r.Status.Stages[0].Moved)
	}
	h.says(c[0], "shop-a", v1alpha1.PackageApplied)
	h.waits(1, "Baking 1/2")
	h.ahead.Add(int64(time.Hour)) // far beyond the deadline
	h.must(h.change(1, func(s *v1alpha1.RolloutSpec) { s.Promoted = []string{"all"} }))
	r = h.waits(1, "Following 1/2")
	if r.Status.Phase != v1alpha1.RolloutCompleted || r.Status.Failed != 0 || r.Status.BlockedBy(c[1]) != why {
		t.Errorf("with one that waits still: %+v", r.Status)
	}
	h.blocked.Store(nil)
	h.delivers("no cluster waits")
	h.eventually("it follows", func() string {
		if got := h.rollout(1); got.Orders().For(c[1]) != "shop-a" || len(got.Status.Blocked) > 0 {
			return fmt.Sprintf("%+v", got.Status)
		}
		return ""
	})
	h.says(c[1], "shop-a", v1alpha1.PackageApplied)
	h.waits(1, "Complete 2/2")
}

// ask is how the controller asks metrics; nil where there are none.
func (h *hub) ask() func(context.Context, string, []v1alpha1.ClusterName) (bool, error) {
	if h.measured == nil {
		return nil
	}
	return func(_ context.Context, query string, clusters []v1alpha1.ClusterName) (bool, error) {
		return h.measured(query, clusters)
	}
}

// TestGates: metrics are asked about the clusters that were moved, by a hub that has some; what it is told decides whether others are.
func TestGates(t *testing.T) {
	h := newHub(t)
	strategy := pairs()
	strategy.Stages[0].Bake, strategy.OnFailure = nil, v1alpha1.FailurePause
	strategy.Stages[0].Gates = []v1alpha1.MetricGate{{Name: "errors", Query: "errors < 1"}}
	c := h.fleet(strategy, "a", "b")
	h.release("shop-a")
	h.waits(1, "Moving 1/2")
	h.says(c[0], "shop-a", v1alpha1.PackageApplied)
	r := h.waits(1, "AwaitingGate 1/2")
	if got := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing).Message; !strings.Contains(got, "this hub keeps no metrics") {
		t.Errorf("it says %q", got)
	}

	var asked, says atomic.Pointer[string]
	h.stop()
	h.measured = func(query string, clusters []v1alpha1.ClusterName) (bool, error) {
		asked.Store(new(fmt.Sprint(query, " of ", clusters)))
		switch said := *says.Load(); said {
		case "holds", "shuts":
			return said == "holds", nil
		default:
			return false, errors.New(said)
		}
	}
	says.Store(new("the store does not answer"))
	h.start()
	h.eventually("it says why that is not known", func() string {
		c := meta.FindStatusCondition(h.rollout(1).Status.Conditions, v1alpha1.ConditionProgressing)
		if c.Message != "whether gate errors of stage all holds is not known: the store does not answer" {
			return c.Message
		}
		return ""
	})
	if got, want := *asked.Load(), fmt.Sprintf("errors < 1 of [%s]", c[0]); got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	look := func(by string) { // a gate is asked again after 15 seconds, or when something happens
		h.must(h.change(1, func(s *v1alpha1.RolloutSpec) { s.Excused = []v1alpha1.ClusterName{v1alpha1.ClusterName(by)} }))
	}
	says.Store(new("shuts"))
	look("nobody")
	h.eventually("it counts for how long the gate does not hold", func() string {
		if r := h.rollout(1); r.Status.Stages[0].ClosedSince == nil || r.Status.Moved != 1 {
			return fmt.Sprintf("%+v", r.Status)
		}
		return ""
	})
	for i := range 11 { // of the time between two looks a minute counts
		h.ahead.Add(int64(time.Minute))
		before := h.rollout(1).Status.Watched
		look(fmt.Sprint("somebody-", i))
		h.eventually("it looks", func() string {
			if r := h.rollout(1); r.Status.Phase != v1alpha1.RolloutHalted && r.Status.Watched.Equal(before) {
				return "not yet"
			}
			return ""
		})
	}
	r = h.waits(1, "Halted 1/2")
	if got := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionProgressing).Message; !strings.Contains(got, "gate errors of stage all does not hold: errors < 1, for 10m0s") {
		t.Errorf("it says %q", got)
	}
	says.Store(new("holds"))
	h.must(h.change(1, func(s *v1alpha1.RolloutSpec) { s.Attempt = 1 }))
	h.waits(1, "Moving 2/2")
	h.says(c[1], "shop-a", v1alpha1.PackageApplied)
	h.waits(1, "Complete 2/2")
}

// delivers has delivery say in the Package's conditions that something changed.
func (h *hub) delivers(message string) {
	h.t.Helper()
	var pkg v1alpha1.Package
	h.must(h.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "shop"}, &pkg))
	meta.SetStatusCondition(&pkg.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDependencies, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonWaiting, Message: message,
	})
	h.must(h.Status().Update(h.t.Context(), &pkg))
}

// TestTheAPIRefusesBadRollouts: what a rollout is about never changes, and a strategy that cannot be meant is refused.
func TestTheAPIRefusesBadRollouts(t *testing.T) {
	h := newHub(t)
	h.fleet(pairs(), "a")
	h.release("shop-a")
	h.waits(1, "Moving 1/1")
	for reason, change := range map[string]func(*v1alpha1.RolloutSpec){
		"another release":  func(s *v1alpha1.RolloutSpec) { s.Release = "shop-x" },
		"another strategy": func(s *v1alpha1.RolloutSpec) { s.Strategy.OnFailure = v1alpha1.FailurePause },
		"another previous": func(s *v1alpha1.RolloutSpec) { s.Previous = "shop-x" },
		"another number":   func(s *v1alpha1.RolloutSpec) { s.Number = 7 },
		"another package":  func(s *v1alpha1.RolloutSpec) { s.PackageRef.Name = "other" },
	} {
		if err := h.change(1, change); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "what a Rollout is about never changes") {
			t.Errorf("%s: got %v", reason, err)
		}
	}
	if err := h.change(1, func(s *v1alpha1.RolloutSpec) { s.Intent = "Faster" }); !apierrors.IsInvalid(err) {
		t.Errorf("an intent that there is not: got %v", err)
	}
	zero, much := intstr.FromInt32(0), intstr.FromString("101%")
	for want, change := range map[string]func(*v1alpha1.RolloutStrategy){
		"maxUnavailable is a number of clusters from 1":      func(s *v1alpha1.RolloutStrategy) { s.Stages[0].MaxUnavailable = &zero },
		"spec.rollout.stages[0].canary in body should match": func(s *v1alpha1.RolloutStrategy) { s.Stages[0].Canary = &much },
		"rest is the name of the stage":                      func(s *v1alpha1.RolloutStrategy) { s.Stages[0].Name = "rest" },
		"spec.rollout.stages[0].gates[0].query":              func(s *v1alpha1.RolloutStrategy) { s.Stages[0].Gates = []v1alpha1.MetricGate{{Name: "empty"}} },
		"Duplicate value": func(s *v1alpha1.RolloutStrategy) {
			s.Stages[0].Gates = []v1alpha1.MetricGate{{Name: "twice", Query: "a < 1"}, {Name: "twice", Query: "b < 1"}}
		},
		"bake is no negative time":         func(s *v1alpha1.RolloutStrategy) { s.Stages[0].Bake = &metav1.Duration{Duration: -1} },
		"progressDeadline is at least 10s": func(s *v1alpha1.RolloutStrategy) { s.ProgressDeadline = &metav1.Duration{Duration: time.Second} },
		"spec.rollout.stages[0].windows[0].from in body": func(s *v1alpha1.RolloutStrategy) {
			s.Stages[0].Windows = []v1alpha1.MaintenanceWindow{{From: "24:00", To: "01:00"}}
		},
		"spec.rollout.stages: Required value": func(s *v1alpha1.RolloutStrategy) { s.Stages = nil },
	} {
		var pkg v1alpha1.Package
		h.must(h.Get(t.Context(), client.ObjectKey{Namespace: h.namespace, Name: "shop"}, &pkg))
		base := client.MergeFrom(pkg.DeepCopy())
		change(pkg.Spec.Rollout)
		if err := h.Patch(t.Context(), &pkg, base); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
