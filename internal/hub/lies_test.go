package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/decide"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/placement"
	"umbel.dev/umbel/internal/rollout"
)

// lies are what an ill API answers to a list.
var lies = map[string]func(list runtime.Object) (runtime.Object, error){
	"nothing": func(list runtime.Object) (runtime.Object, error) { return list, meta.SetList(list, nil) },
	"half": func(list runtime.Object) (runtime.Object, error) {
		all, err := meta.ExtractList(list)
		return list, errors.Join(err, meta.SetList(list, all[:len(all)/2]))
	},
	"403": func(runtime.Object) (runtime.Object, error) {
		return nil, apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("by the test"))
	},
	"404": func(runtime.Object) (runtime.Object, error) {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
	},
	"truncated": func(runtime.Object) (runtime.Object, error) { return nil, io.ErrUnexpectedEOF },
}

// liar stands between the API and what a hub reads of one kind, and lies once. What was left out of a list is not told later:
// a watch goes on from there.
type liar struct {
	kind, lie string
	once      sync.Once
	told      atomic.Bool
}

// lister is one that knows no other list than a list.
type lister struct{ *toolscache.ListWatch }

func (lister) IsWatchListSemanticsUnSupported() bool { return true }

func (l *liar) informer(lw toolscache.ListerWatcher, object runtime.Object, resync time.Duration, by toolscache.Indexers) toolscache.SharedIndexInformer {
	from := toolscache.ToListerWatcherWithContext(lw)
	between := &toolscache.ListWatch{WatchFuncWithContext: from.WatchWithContext}
	between.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (list runtime.Object, err error) {
		list, err = from.ListWithContext(ctx, options)
		if err == nil && reflect.TypeOf(object).Elem().Name() == l.kind {
			l.once.Do(func() {
				list, err = lies[l.lie](list)
				l.told.Store(true)
			})
		}
		return list, err
	}
	return toolscache.NewSharedIndexInformer(lister{between}, object, resync, by)
}

// misled is a hub that decides, delivers and rolls out by what it reads, in lives of which each begins with one lie.
type misled struct {
	client.Client
	t        *testing.T
	config   *rest.Config
	dir      string
	key      client.ObjectKey
	clusters []v1alpha1.ClusterName
	// desired is that of the life that goes on.
	desired *delivery.Desired
	// holds is the release that each cluster holds.
	holds map[v1alpha1.ClusterName]string
	// releases counts those that were made, and rollouts the most that were there.
	releases, rollouts int
}

func newMisled(t *testing.T, clusters int) *misled {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	m := &misled{t: t, config: config, dir: t.TempDir(), holds: map[v1alpha1.ClusterName]string{}, key: client.ObjectKey{Namespace: kubetest.Namespace(t, config), Name: "shop"}}
	if m.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	for i := range clusters {
		name := fmt.Sprintf("%s-%d", m.key.Namespace, i)
		m.must(m.Create(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"of": m.key.Namespace}}}))
		m.clusters = append(m.clusters, v1alpha1.ClusterName(name))
		m.says(v1alpha1.ClusterName(name), nil)
	}
	p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: m.key.Namespace, Name: m.key.Name}}
	p.Spec.ClusterSelector.MatchLabels = map[string]string{"of": m.key.Namespace}
	m.must(m.Create(t.Context(), p))
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: m.key.Namespace, Name: m.key.Name}}
	pkg.Spec.PlacementRef.Name = m.key.Name
	pkg.Spec.Source.Inline = &v1alpha1.InlineSource{Objects: m.next()}
	pkg.Spec.Rollout = &v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{{Name: "all", MaxUnavailable: new(intstr.FromInt32(2))}}}
	m.must(m.Create(t.Context(), pkg))
	return m
}

func (m *misled) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// next is what the next release holds.
func (m *misled) next() []v1alpha1.InlineObject {
	m.t.Helper()
	m.releases++
	object, err := v1alpha1.Inline(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "shop", "namespace": "default"},
		"data": map[string]any{"release": fmt.Sprint(m.releases)},
	})
	m.must(err)
	return []v1alpha1.InlineObject{object}
}

// says writes that a cluster is connected, and what it holds.
func (m *misled) says(name v1alpha1.ClusterName, holds []v1alpha1.MemberPackage) {
	m.t.Helper()
	var member v1alpha1.MemberCluster
	m.must(m.Get(m.t.Context(), client.ObjectKey{Name: string(name)}, &member))
	meta.SetStatusCondition(&member.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered, Message: "by the test",
	})
	if holds != nil {
		member.Status.Packages = holds
	}
	member.Status.AgentVersion, member.Status.AgentFeatures = "v0.1.0", wire.Features()
	m.must(m.Status().Update(m.t.Context(), &member))
}

// live runs a hub that is lied to, until enough says so, which is asked again and again.
func (m *misled) live(l *liar, enough func() bool) {
	m.t.Helper()
	registry, err := content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(m.dir, "registry")})
	m.must(err)
	defer func() { m.must(registry.Close()) }()
	store, err := content.NewStore("http://registry.umbel", content.InProcess(registry))
	m.must(err)
	renders, err := render.NewCache(render.CacheConfig{Dir: filepath.Join(m.dir, "rendered")})
	m.must(err)
	mgr, err := ctrl.NewManager(m.config, ctrl.Options{
		Scheme: m.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:      cache.Options{NewInformer: l.informer, DefaultNamespaces: map[string]cache.Config{m.key.Namespace: {}}},
		Controller: ctrlconfig.Controller{UsePriorityQueue: new(false), SkipNameValidation: new(true)}, // as in hub
	})
	m.must(err)
	ctx, cancel := context.WithCancel(m.t.Context())
	m.must(placement.Setup(mgr, time.Now))
	m.desired, err = delivery.Setup(ctx, mgr, delivery.Needs{
		Dir: m.dir, Content: store, Renders: renders, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	m.must(err)
	m.must(rollout.Setup(ctx, mgr, rollout.Needs{Digest: decide.DigestFor, Waits: m.desired.Waits, Now: time.Now}))
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			m.t.Errorf("the manager ended: %v", err)
		}
	})
	defer running.Wait()
	defer cancel()
	tick, deadline := time.NewTicker(20*time.Millisecond), time.After(3*time.Minute)
	defer tick.Stop()
	for !enough() {
		m.obeys()
		select {
		case <-tick.C:
		case <-deadline:
			m.t.Fatalf("%s of %s: three minutes were not enough: %s", l.lie, l.kind, m.state())
		}
	}
}

// state is how far it all is.
func (m *misled) state() string {
	m.t.Helper()
	var p v1alpha1.Placement
	var pkg v1alpha1.Package
	var all v1alpha1.RolloutList
	m.must(m.Get(m.t.Context(), m.key, &p))
	m.must(m.Get(m.t.Context(), m.key, &pkg))
	m.must(m.List(m.t.Context(), &all, client.InNamespace(m.key.Namespace)))
	text := fmt.Sprintf("the placement selects %v; the package is at %q: %v", p.Status.Clusters, pkg.Status.Release, pkg.Status.Conditions)
	for i := range all.Items {
		text += fmt.Sprintf("; %s is %s: %v", all.Items[i].Name, all.Items[i].Status.Phase, all.Items[i].Status.Conditions)
	}
	return text
}

// obeys has each cluster do what it is told, and none may be told to remove anything.
func (m *misled) obeys() {
	m.t.Helper()
	for _, name := range m.clusters {
		set, ready := m.desired.For(name)
		if !ready {
			continue
		}
		if len(set.Remove) > 0 {
			m.t.Fatalf("cluster %s is told to remove %v", name, set.Remove)
		}
		a := set.Assign[v1alpha1.KeyOf(m.key.Namespace, m.key.Name)]
		if a == nil || a.GetRelease() == m.holds[name] {
			continue
		}
		m.holds[name] = a.GetRelease()
		m.says(name, []v1alpha1.MemberPackage{{
			Package: v1alpha1.KeyOf(m.key.Namespace, m.key.Name), Release: a.GetRelease(), Revision: a.GetRevision(), Digest: a.Where().GetDigest(),
			Phase: v1alpha1.PackageApplied, Objects: 1, Applied: 1, Healthy: 1,
		}})
	}
}

// rolledOut says whether the newest release has been rolled out.
func (m *misled) rolledOut() bool {
	m.t.Helper()
	var all v1alpha1.RolloutList
	m.must(m.List(m.t.Context(), &all, client.InNamespace(m.key.Namespace)))
	if len(all.Items) < m.rollouts {
		m.t.Fatalf("of %d rollouts %d are left", m.rollouts, len(all.Items))
	}
	m.rollouts = min(len(all.Items), 10) // of more the oldest are deleted
	return slices.ContainsFunc(all.Items, func(r v1alpha1.Rollout) bool {
		return r.Spec.Number >= int64(m.releases) && r.Status.Completed != nil
	})
}

// TestAHubThatIsLiedTo: at a hundred points of rollouts a hub begins anew, and the first list of one of the kinds that it
// decides by is empty, lacks half, is refused, or is cut. No cluster leaves the decision, and none is told to remove anything.
func TestAHubThatIsLiedTo(t *testing.T) {
	m := newMisled(t, 4)
	m.live(&liar{}, m.rolledOut)
	points := 0
	for range 4 {
		for _, kind := range []string{"MemberCluster", "Placement", "Package", "Release", "Rollout"} {
			for lie := range lies {
				if m.rolledOut() {
					m.commit()
				}
				l, begun := &liar{kind: kind, lie: lie}, time.Now()
				m.live(l, func() bool { return l.told.Load() && time.Since(begun) > 400*time.Millisecond })
				m.decided(l)
				points++
			}
			m.live(&liar{}, m.stepped())
		}
	}
	m.live(&liar{}, m.rolledOut)
	t.Logf("%d points in %d rollouts", points, m.releases)
	if points < 100 || m.releases < 5 {
		t.Errorf("%d points in %d rollouts are few", points, m.releases)
	}
}

// stepped says whether a cluster has been moved since, or all of them have been: the next lies are told at another point.
func (m *misled) stepped() func() bool {
	before := maps.Clone(m.holds)
	return func() bool { return !maps.Equal(before, m.holds) || m.rolledOut() }
}

// commit makes the Package hold something else.
func (m *misled) commit() {
	m.t.Helper()
	var pkg v1alpha1.Package
	m.must(m.Get(m.t.Context(), m.key, &pkg))
	pkg.Spec.Source.Inline.Objects = m.next()
	m.must(m.Update(m.t.Context(), &pkg))
}

// decided wants every cluster in the decision.
func (m *misled) decided(l *liar) {
	m.t.Helper()
	var p v1alpha1.Placement
	m.must(m.Get(m.t.Context(), m.key, &p))
	if len(p.Status.Clusters) != len(m.clusters) {
		m.t.Fatalf("%s of %s: the decision has %v of %v: %v", l.lie, l.kind, p.Status.Clusters, m.clusters, p.Status.Conditions)
	}
}
