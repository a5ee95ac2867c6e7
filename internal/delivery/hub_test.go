package delivery_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestMain lets the test's own program be the process that renders, too.
func TestMain(m *testing.M) {
	if os.Getenv("UMBEL_TEST_WORKER") != "" {
		if err := render.Work(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// hub is the delivery controller of one namespace against a real API, with a real registry. Placements are decided and
// clusters speak by the hand of the test.
type hub struct {
	client.Client
	t         *testing.T
	config    *rest.Config
	namespace string
	dir       string
	store     *content.Store
	cache     *render.Cache
	desired   *delivery.Desired
	hooks     http.Handler
	cached    client.Reader                           // as the controller reads
	sealer    delivery.Sealer                         // of Releases; nil has none
	content   func(delivery.Content) delivery.Content // puts something between the hub and its registry
	logs      *lines
	stop      func()
}

func newHub(t *testing.T) *hub {
	t.Helper()
	return newHubWith(t, func(c delivery.Content) delivery.Content { return c })
}

// newHubWith is one that has something between it and its registry.
func newHubWith(t *testing.T, content func(delivery.Content) delivery.Content) *hub {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	h := &hub{t: t, config: config, namespace: kubetest.Namespace(t, config), dir: t.TempDir(), content: content, logs: &lines{}}
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
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, eventsv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// manager returns one of this namespace.
func (h *hub) manager(options ctrl.Options) ctrl.Manager {
	h.t.Helper()
	again := true
	options.Scheme = scheme(h.t)
	options.Metrics = metricsserver.Options{BindAddress: "0"}
	options.Cache = cache.Options{DefaultNamespaces: map[string]cache.Config{h.namespace: {}}}
	options.Controller = ctrlconfig.Controller{SkipNameValidation: &again, UsePriorityQueue: new(false)} // as in hub
	mgr, err := ctrl.NewManager(h.config, options)
	if err != nil {
		h.t.Fatal(err)
	}
	return mgr
}

// start runs the controller. After stop it may be started again, on the same data.
func (h *hub) start() {
	h.t.Helper()
	registry, err := content.NewRegistry(content.RegistryConfig{Dir: filepath.Join(h.dir, "registry")})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.store, err = content.NewStore("http://registry.umbel", content.InProcess(registry)); err != nil {
		h.t.Fatal(err)
	}
	mgr := h.manager(ctrl.Options{})
	h.cached = mgr.GetClient()
	ctx, cancel := context.WithCancel(h.t.Context())
	if h.cache, err = render.NewCache(render.CacheConfig{Dir: filepath.Join(h.dir, "rendered")}); err != nil {
		h.t.Fatal(err)
	}
	needs := delivery.Needs{Dir: h.dir, LocalSources: []string{os.TempDir()}, Content: h.content(h.store), Renders: h.cache, Sealer: h.sealer, Log: h.logs.logger(), Now: time.Now}
	if h.desired, err = delivery.Setup(ctx, mgr, needs); err != nil {
		h.t.Fatal(err)
	}
	h.hooks = delivery.Hooks(mgr, needs)
	var running sync.WaitGroup
	running.Go(func() {
		if err := mgr.Start(ctx); err != nil {
			h.t.Errorf("the manager ended: %v", err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := registry.Close(); err != nil {
			h.t.Error(err)
		}
	})
}

// eventually waits until the check has nothing to complain of.
func (h *hub) eventually(what string, check func() string) {
	h.t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
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

func (h *hub) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// cluster makes a MemberCluster, connected, under a name of this test's own, which it returns.
func (h *hub) cluster(name string, labels map[string]string) v1alpha1.ClusterName {
	h.t.Helper()
	m := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: h.namespace + "-" + name, Labels: labels}}
	h.must(h.Create(h.t.Context(), m))
	h.t.Cleanup(func() {
		m.Finalizers = nil
		_ = h.Delete(context.WithoutCancel(h.t.Context()), m) // the API ends with the process anyway
	})
	h.says(v1alpha1.ClusterName(m.Name), metav1.ConditionTrue)
	return v1alpha1.ClusterName(m.Name)
}

// says writes a cluster's status: its connection and what it holds.
func (h *hub) says(name v1alpha1.ClusterName, connected metav1.ConditionStatus, packages ...v1alpha1.MemberPackage) {
	h.t.Helper()
	var m v1alpha1.MemberCluster
	h.must(h.Get(h.t.Context(), client.ObjectKey{Name: string(name)}, &m))
	meta.SetStatusCondition(&m.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionConnected, Status: connected, Reason: v1alpha1.ReasonProbeAnswered, Message: "by the test",
	})
	m.Status.Packages = packages
	m.Status.AgentVersion, m.Status.AgentFeatures = "v0.1.0", wire.Features()
	h.must(h.Status().Update(h.t.Context(), &m))
}

// obeys lets a cluster do what it is told, and say so.
func (h *hub) obeys(name v1alpha1.ClusterName) {
	h.t.Helper()
	set, _ := h.desired.For(name)
	var packages []v1alpha1.MemberPackage
	for key, a := range set.Assign {
		packages = append(packages, v1alpha1.MemberPackage{
			Package: key, Release: a.GetRelease(), Revision: a.GetRevision(), Digest: a.Where().GetDigest(),
			Phase: v1alpha1.PackageApplied, Objects: 1, Applied: 1, Healthy: 1,
		})
	}
	h.says(name, metav1.ConditionTrue, packages...)
}

// place writes the decision of a Placement, making it when it is not there.
func (h *hub) place(name string, clusters ...v1alpha1.ClusterName) {
	h.t.Helper()
	p := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}}
	if err := h.Create(h.t.Context(), p); err != nil && !apierrors.IsAlreadyExists(err) {
		h.t.Fatal(err)
	}
	h.must(h.Get(h.t.Context(), client.ObjectKeyFromObject(p), p))
	p.Status.Clusters, p.Status.Selected, p.Status.ObservedGeneration = clusters, int32(len(clusters)), p.Generation
	meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionDecided, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDecided, ObservedGeneration: p.Generation,
	})
	h.must(h.Status().Update(h.t.Context(), p))
}

// create makes a Package of a folder of a repository.
func (h *hub) create(name, url, folder, placement string) v1alpha1.PackageKey {
	h.t.Helper()
	p := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: h.namespace, Name: name}}
	p.Spec.Source.Git = &v1alpha1.GitSource{URL: url, Path: folder, PollInterval: &metav1.Duration{Duration: time.Hour}}
	p.Spec.PlacementRef.Name = placement
	h.must(h.Create(h.t.Context(), p))
	return v1alpha1.KeyOf(h.namespace, name)
}

func (h *hub) pkg(name string) *v1alpha1.Package {
	h.t.Helper()
	var p v1alpha1.Package
	h.must(h.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: name}, &p))
	return &p
}

var refreshes int

// refresh asks for a fetch now.
func (h *hub) refresh(name string) {
	h.t.Helper()
	refreshes++
	p := h.pkg(name)
	base := client.MergeFrom(p.DeepCopy())
	p.Annotations = map[string]string{v1alpha1.RefreshAnnotation: fmt.Sprint(refreshes)}
	h.must(h.Patch(h.t.Context(), p, base))
}

// condition returns STATUS REASON MESSAGE of a condition of a Package.
func (h *hub) condition(name, conditionType string) string {
	h.t.Helper()
	c := meta.FindStatusCondition(h.pkg(name).Status.Conditions, conditionType)
	if c == nil {
		return "none"
	}
	return fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
}

// waitFor waits for a condition that begins with STATUS REASON and says all of the texts.
func (h *hub) waitFor(name, conditionType, begin string, texts ...string) {
	h.t.Helper()
	h.eventually(conditionType+" of "+name, func() string {
		got := h.condition(name, conditionType)
		for _, text := range append(texts, begin) {
			if !strings.Contains(got, text) || !strings.HasPrefix(got, begin) {
				return fmt.Sprintf("got %q, want %q with %q", got, begin, text)
			}
		}
		return ""
	})
}

// told returns what a cluster is told of a Package: keep, remove, or the release and the content's lines.
func (h *hub) told(cluster v1alpha1.ClusterName, key v1alpha1.PackageKey) string {
	h.t.Helper()
	set, isReady := h.desired.For(cluster)
	if !isReady {
		return "not ready"
	}
	for _, removed := range set.Remove {
		if removed == key {
			return "remove"
		}
	}
	a := set.Assign[key]
	if a == nil {
		return "keep"
	}
	at := a.Where()
	blob, err := h.store.Pull(h.t.Context(), at.GetRepository(), at.GetDigest(), at.GetSize())
	if err != nil {
		return err.Error()
	}
	text := a.GetRelease()
	for item, err := range bundle.Decode(bytes.NewReader(blob), bundle.DefaultLimits) {
		if err != nil {
			return err.Error()
		}
		text += fmt.Sprintf(" %s %s", item.File, item.Object)
	}
	return text
}

// waitTold waits until what a cluster is told has the text in it.
func (h *hub) waitTold(cluster v1alpha1.ClusterName, key v1alpha1.PackageKey, text string) {
	h.t.Helper()
	h.eventually("what "+string(cluster)+" is told", func() string {
		if got := h.told(cluster, key); !strings.Contains(got, text) {
			return fmt.Sprintf("got %q, want %q in it", got, text)
		}
		return ""
	})
}

// released returns the Release that a Package is at, once the status says it: clusters are told before it is written.
func (h *hub) released(name string) (release string) {
	h.t.Helper()
	h.eventually("the status of "+name+" names a release", func() string {
		if release = h.pkg(name).Status.Release; release == "" {
			return "it names none"
		}
		return ""
	})
	return release
}

// waitGone waits until a Package is let go.
func (h *hub) waitGone(name string) {
	h.t.Helper()
	h.eventually("the end of "+name, func() string {
		var p v1alpha1.Package
		if err := h.Get(h.t.Context(), client.ObjectKey{Namespace: h.namespace, Name: name}, &p); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("it is still there: %v", p.Status.Conditions)
		}
		return ""
	})
}

func (h *hub) releases() []v1alpha1.Release {
	h.t.Helper()
	var list v1alpha1.ReleaseList
	h.must(h.List(h.t.Context(), &list, client.InNamespace(h.namespace)))
	return list.Items
}
