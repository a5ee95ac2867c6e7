package autoscale

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

var errKilled = errors.New("killed here")

// life is a controller that is killed after some of its writes. Nothing of what it wants to write after that happens, and of that last one
// it never hears.
type life struct {
	mu     sync.Mutex
	after  int // 0: never
	writes []string
	dead   bool
	kill   context.CancelFunc
	ended  <-chan error
}

// writing does one.
func (l *life) writing(what string, do func() error) error {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return errKilled
	}
	l.writes = append(l.writes, what)
	last := len(l.writes) == l.after
	l.dead = last
	l.mu.Unlock()
	err := do()
	if last {
		l.kill()
		return errKilled
	}
	return err
}

func (l *life) arm(after int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after, l.writes = after, nil
}

// over says whether it was killed, and what it has written since it was armed.
func (l *life) over() (dead bool, writes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead, slices.Clone(l.writes)
}

// wire has requests pass, and counts those that write; an event is no write that anything hangs on.
type wire struct {
	http.RoundTripper
	life *life
}

func (w wire) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/events") {
		return w.RoundTripper.RoundTrip(r)
	}
	resource, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/apis/cluster.x-k8s.io/v1beta2/namespaces/default/"), "/")
	cut := w.life.writing(r.Method+" "+resource, func() error {
		answer, err = w.RoundTripper.RoundTrip(r)
		return err
	})
	if errors.Is(cut, errKilled) {
		if answer != nil {
			answer.Body.Close()
		}
		return nil, errKilled
	}
	return answer, err
}

// world is a hub on which pools follow pods. Their cluster has the same API, by a way of its own that may be cut. Cluster API, the scheduler
// and kubelets are played by the test.
type world struct {
	*testing.T
	client.Client
	config     *rest.Config
	kubeconfig []byte
	life       *life

	mu              sync.Mutex
	clock           time.Time
	rounds, refused int // how often the cluster was asked for the last that is looked at, and how often it was asked while it was away
	away            bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), apiextensionsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, config: kubetest.Start(t), clock: time.Now().Truncate(time.Second)}
	var err error
	if w.Client, err = client.New(w.config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Cluster", "MachineDeployment", "Machine"} {
		w.serves(name)
	}
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "default"}}) // without it there are no pods
	w.leads()
	w.born()
	t.Cleanup(func() { w.life.kill(); <-w.life.ended })
	return w
}

// serves has the API serve one of Cluster API's kinds, of which anything may be said.
func (w *world) serves(name string) {
	w.Helper()
	plural := strings.ToLower(name) + "s"
	w.create(&apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + group, Annotations: map[string]string{"api-approved.kubernetes.io": "unapproved, of a test"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: plural, Kind: name},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: kind(name).Version, Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: new(true)},
			}}},
		},
	})
	w.eventually(name+" is served", func() error {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind(name + "List"))
		return w.List(w.Context(), list)
	})
}

// leads makes the way into the cluster.
func (w *world) leads() {
	w.Helper()
	to, err := url.Parse(w.config.Host)
	if err != nil {
		w.Fatal(err)
	}
	transport, err := rest.TransportFor(w.config)
	if err != nil {
		w.Fatal(err)
	}
	way := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: transport}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		away := w.away
		switch {
		case away:
			w.refused++
		case strings.HasSuffix(r.URL.Path, "/poddisruptionbudgets"):
			w.rounds++
		}
		w.mu.Unlock()
		if away {
			out.WriteHeader(http.StatusBadGateway)
			return
		}
		way.ServeHTTP(out, r)
	}))
	w.Cleanup(server.Close)
	if w.kubeconfig, err = os.ReadFile(kubetest.Kubeconfig(w.T, &rest.Config{Host: server.URL})); err != nil {
		w.Fatal(err)
	}
}

// born runs a controller.
func (w *world) born() {
	w.Helper()
	ctx, kill := context.WithCancel(context.WithoutCancel(w.Context()))
	l := &life{kill: kill}
	config := rest.CopyConfig(w.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return wire{next, l} })
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: w.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: controllerconfig.Controller{SkipNameValidation: new(true), UsePriorityQueue: new(false)}, // as in hub
		Client:     client.Options{Cache: &client.CacheOptions{Unstructured: true, DisableFor: []client.Object{&corev1.Secret{}}}},
	})
	if err != nil {
		w.Fatal(err)
	}
	if err := Setup(m, w.now); err != nil {
		w.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		ended <- m.Start(ctx)
	}()
	l.ended = ended
	w.life = l
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

// count reads one of the numbers.
func (w *world) count(what *int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *what
}

// cuts cuts the way into the cluster, or mends it.
func (w *world) cuts(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.Create(w.Context(), o); client.IgnoreAlreadyExists(err) != nil {
		w.Fatal(err)
	}
}

func (w *world) eventually(what string, check func() error) {
	w.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		w.Fatalf("did not happen: %s: %v", what, last)
	}
}

// until has something come to be by a controller that is killed after so many writes, and by another one.
func (w *world) until(after int, what string, begin func(), so func() error) (killed bool, writes []string) {
	w.Helper()
	w.life.arm(after)
	begin()
	w.eventually(what+", or the controller is killed", func() error {
		if dead, _ := w.life.over(); dead {
			return nil
		}
		return so()
	})
	if killed, writes = w.life.over(); killed {
		<-w.life.ended // how one that was killed ends is nothing to know
		w.born()
	}
	w.eventually(fmt.Sprintf("killed after %d writes: %s (%v)", after, what, writes), so)
	w.life.arm(0)
	return killed, writes
}

// cluster is one with one pool, of up to three machines of two processors each.
type cluster struct {
	*world
	object, pool *unstructured.Unstructured
	pokes        int
}

func object(name, of string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(kind(name))
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetName(of)
	return o
}

// plans returns one that nobody knows of yet.
func (w *world) plans(name string, annotations map[string]string) *cluster {
	w.Helper()
	c := &cluster{world: w, object: object("Cluster", name), pool: object("MachineDeployment", name)}
	c.object.Object["status"] = map[string]any{"initialization": map[string]any{"controlPlaneInitialized": true}}
	of := map[string]string{v1alpha1.PoolMinAnnotation: "0", v1alpha1.PoolMaxAnnotation: "3", capacity + "cpu": "2", capacity + "memory": "4Gi", optionAfter: "1m"}
	maps.Copy(of, annotations)
	c.pool.SetAnnotations(of)
	c.pool.SetLabels(map[string]string{clusterLabel: name})
	c.pool.Object["spec"] = map[string]any{"replicas": int64(0)}
	return c
}

// begins makes it, and serves its API.
func (c *cluster) begins() {
	c.Helper()
	c.create(c.pool)
	way := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: c.object.GetName() + "-kubeconfig"}, Data: map[string][]byte{"value": c.kubeconfig}}
	c.ends(way) // one of an earlier run leads nowhere
	c.create(way)
	c.create(c.object)
}

// poke has the controller look at once.
func (c *cluster) poke() error {
	c.pokes++
	return c.Patch(c.Context(), c.object.DeepCopy(), client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{"poked":"%d"}}}`, c.pokes)))
}

// later has twenty seconds pass.
func (c *cluster) later() error {
	c.mu.Lock()
	c.clock = c.clock.Add(20 * time.Second)
	c.mu.Unlock()
	return c.poke()
}

// looks returns when the controller has looked at all of it, to the end: it has when it begins to once more.
func (c *cluster) looks() {
	c.Helper()
	for range 2 {
		before := c.count(&c.rounds)
		c.eventually("all is looked at", func() error {
			if c.count(&c.rounds) > before {
				return nil
			}
			return errors.Join(errors.New("not yet"), c.later())
		})
	}
}

// has says what is missing until the pool is to have so many machines.
func (c *cluster) has(want int64) error {
	if err := c.Get(c.Context(), client.ObjectKeyFromObject(c.pool), c.pool); err != nil {
		return err
	}
	if got, _, _ := unstructured.NestedInt64(c.pool.Object, "spec", "replicas"); got != want {
		return fmt.Errorf("the pool is to have %d machines, not %d", got, want)
	}
	return nil
}

// stays fails when the pool is to have another number of machines when it has been looked at.
func (c *cluster) stays(reason string, want int64) {
	c.Helper()
	c.looks()
	if err := c.has(want); err != nil {
		c.Errorf("%s: %v", reason, err)
	}
}

// waits plays the scheduler, which finds no node for a pod.
func (c *cluster) waits(name, cpu string) *corev1.Pod {
	c.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: c.object.GetName() + "-" + name}}
	asking(cpu)(p)
	p.Spec.Containers[0].Name, p.Spec.Containers[0].Image = "web", "web"
	c.create(p)
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, LastTransitionTime: metav1.Now()}}
	if err := c.Status().Update(c.Context(), p); err != nil {
		c.Fatal(err)
	}
	return p
}

// runs plays Cluster API and a kubelet: there is a machine, and its node is ready; and the scheduler, which has the pods run on it.
func (c *cluster) runs(name string, pods ...*corev1.Pod) (machine *unstructured.Unstructured) {
	c.Helper()
	name = c.object.GetName() + "-" + name
	machine = object("Machine", name)
	machine.SetLabels(map[string]string{clusterLabel: c.object.GetName(), poolLabel: c.pool.GetName()})
	machine.Object["status"] = map[string]any{"nodeRef": map[string]any{"name": name}}
	n := node(name)
	n.Status.Conditions[0].LastTransitionTime = metav1.NewTime(c.now().Add(-time.Hour))
	c.create(&n)
	if err := c.Patch(c.Context(), &n, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"taints":null}}`))); err != nil { // that of a node that is new
		c.Fatal(err)
	}
	c.create(machine)
	for _, p := range pods {
		c.bind(p, name)
	}
	return machine
}

func (c *cluster) bind(p *corev1.Pod, node string) {
	c.Helper()
	if err := c.SubResource("binding").Create(c.Context(), p, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: p.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: node}}); err != nil {
		c.Fatal(err)
	}
}

// ends ends things at once.
func (c *cluster) ends(all ...client.Object) {
	c.Helper()
	for _, o := range all {
		if err := client.IgnoreNotFound(c.Delete(c.Context(), o, client.GracePeriodSeconds(0))); err != nil {
			c.Fatal(err)
		}
	}
}

// leaves plays Cluster API, which takes a machine away with its node.
func (c *cluster) leaves(machine *unstructured.Unstructured) {
	c.Helper()
	c.ends(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: machine.GetName()}}, machine)
}

// marked are the machines that are the first to go.
func (c *cluster) marked() (names []string) {
	c.Helper()
	machines := &unstructured.UnstructuredList{}
	machines.SetGroupVersionKind(kind("MachineList"))
	if err := c.List(c.Context(), machines, client.MatchingLabels{clusterLabel: c.object.GetName()}); err != nil {
		c.Fatal(err)
	}
	for _, m := range machines.Items {
		if m.GetAnnotations()[goesFirst] != "" {
			names = append(names, strings.TrimPrefix(m.GetName(), c.object.GetName()+"-"))
		}
	}
	return names
}

// said says what is missing until an event of an object says something.
func (c *cluster) said(reason, of, part string) error {
	var all eventsv1.EventList
	if err := c.List(c.Context(), &all, client.InNamespace(metav1.NamespaceDefault)); err != nil {
		return err
	}
	var notes []string
	for _, e := range all.Items {
		if e.Regarding.Name == of && e.Reason == reason && strings.Contains(e.Note, part) {
			return nil
		}
		notes = append(notes, e.Regarding.Name+" "+e.Reason+": "+e.Note)
	}
	return fmt.Errorf("no event %s of %s says %q: %q", reason, of, part, notes)
}

// TestItIsKilledAtEveryWrite while a pool grows from none, shrinks, and goes back to none: after the first write, after the second. Another
// controller takes over each time; it makes no machine too many, and takes away that which nobody needs.
func TestItIsKilledAtEveryWrite(t *testing.T) {
	w := newWorld(t)
	stories := map[string][]string{}
	for after, cut := 1, true; cut; after++ {
		if after > 10 {
			t.Fatal("to follow the pods has no end")
		}
		cut = false
		c := w.plans(fmt.Sprintf("k%d", after), nil)
		part := func(what string, begin func(), so func() error) (killed bool) {
			killed, writes := w.until(after, what, begin, so)
			if !killed && stories[what] == nil {
				stories[what] = writes
			}
			cut = cut || killed
			return killed
		}
		var a, b *corev1.Pod
		killed := part("two machines, from none", func() {
			a, b = c.waits("a", "1500m"), c.waits("b", "1500m")
			c.begins()
		}, func() error { return errors.Join(c.poke(), c.has(2)) })
		c.stays("two are coming", 2)
		if !killed {
			w.eventually("it is said why", func() error {
				return c.said("Scaled", c.pool.GetName(), "from 0 to 2 machines: no node has room for default/"+a.Name)
			})
		}
		one, other := c.runs("one", a), c.runs("other", b)
		c.stays("both are needed", 2)

		part("one machine", func() { c.ends(b) }, func() error { return errors.Join(c.later(), c.has(1)) })
		for range 2 { // with the next look that is longer than a machine that is not needed stays
			c.looks()
		}
		c.stays("the one is needed, and the other has not gone yet", 1)
		if marked := c.marked(); !slices.Equal(marked, []string{"other"}) {
			t.Errorf("killed after %d writes: of one and other, of which nobody needs the other, %v are to go", after, marked)
		}
		c.leaves(other)

		part("none", func() { c.ends(a) }, func() error { return errors.Join(c.later(), c.has(0)) })
		if marked := c.marked(); !slices.Equal(marked, []string{"one"}) {
			t.Errorf("killed after %d writes: of the last, %v are to go", after, marked)
		}
		c.leaves(one)
		c.stays("nobody waits", 0)
		c.ends(c.object, c.pool)
	}
	shrinks := []string{"PATCH machines", "PATCH machinedeployments"}
	for what, want := range map[string][]string{"two machines, from none": {"PATCH machinedeployments"}, "one machine": shrinks, "none": shrinks} {
		// It may look again before it has seen what it wrote itself: what it writes by that the API refuses, and the number stays.
		if got := stories[what]; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("until there is to be %s it writes %v, want %v first", what, got, want)
		}
	}
}

// TestAMarkIsTakenBack: it is killed when it has marked a machine, whose node is needed then, and another one is not. That one goes alone.
func TestAMarkIsTakenBack(t *testing.T) {
	w := newWorld(t)
	c := w.plans("marks", nil)
	a, b := c.waits("a", "1500m"), c.waits("b", "1500m")
	c.begins()
	w.eventually("there are to be two machines", func() error { return errors.Join(c.poke(), c.has(2)) })
	one, other := c.runs("one", a), c.runs("other", b)
	c.stays("both are needed", 2) // so that it has heard of its own write by now, and does not try it again
	w.life.arm(1)
	c.ends(b)
	w.eventually("it is killed", func() error {
		if dead, _ := w.life.over(); dead {
			return nil
		}
		return errors.Join(errors.New("it lives"), c.later())
	})
	<-w.life.ended
	if marked := c.marked(); !slices.Equal(marked, []string{"other"}) {
		t.Fatalf("%v are marked", marked)
	}
	again := c.waits("again", "1500m")
	c.bind(again, other.GetName())
	c.ends(a)
	w.born()
	w.eventually("there is to be one machine", func() error { return errors.Join(c.later(), c.has(1)) })
	if marked := c.marked(); !slices.Equal(marked, []string{"one"}) {
		t.Errorf("of one, which nobody needs, and other, on which a pod runs again, %v are to go", marked)
	}
	c.leaves(one)
	c.leaves(other)
	c.ends(again, c.object, c.pool)
}

// TestWhatDecidesNothing: a cluster that does not answer, one that is paused, a pool whose annotations cannot be read, and a pod that no
// machine would hold. What people can mend is said.
func TestWhatDecidesNothing(t *testing.T) {
	w := newWorld(t)
	away := w.plans("away", nil)
	away.begins()
	w.cuts(true)
	p := away.waits("a", "1")
	before := w.count(&w.refused)
	w.eventually("the cluster is asked", func() error {
		if w.count(&w.refused) > before+2 {
			return nil
		}
		return errors.Join(errors.New("not yet"), away.poke())
	})
	if err := away.has(0); err != nil {
		t.Errorf("while the cluster does not answer: %v", err)
	}
	w.cuts(false)
	w.eventually("when it answers there is to be a machine", func() error { return errors.Join(away.poke(), away.has(1)) })
	away.ends(p, away.object, away.pool)

	large := w.plans("large", nil)
	large.begins()
	p = large.waits("a", "3")
	w.eventually("it is said that no machine would hold the pod", func() error {
		return errors.Join(large.poke(), large.said("PodsWait", "large", "the pod asks for 3 of cpu, and one of its nodes has 2"))
	})
	large.stays("no machine would hold the pod", 0)
	large.ends(p, large.object, large.pool)

	still := w.plans("still", nil)
	still.object.Object["spec"] = map[string]any{"paused": true} // from the start: of one that is paused later, a look may be under way
	still.begins()
	odd := w.plans("odd", map[string]string{v1alpha1.PoolMaxAnnotation: "many"})
	odd.begins()
	p = odd.waits("a", "1")
	w.eventually("it is said which annotation cannot be read", func() error {
		return errors.Join(odd.poke(), odd.said("NotScaled", "odd", "annotation "+v1alpha1.PoolMaxAnnotation+` is "many"`))
	})
	if err := odd.has(0); err != nil {
		t.Errorf("of how many is not said how many: %v", err)
	}
	if err := still.poke(); err != nil { // it is looked at before the other one: one at a time is
		t.Fatal(err)
	}
	mended := []byte(`{"metadata":{"annotations":{"` + v1alpha1.PoolMaxAnnotation + `":"3"}}}`)
	if err := w.Patch(t.Context(), odd.pool, client.RawPatch("application/merge-patch+json", mended)); err != nil {
		t.Fatal(err)
	}
	w.eventually("mended, there is to be a machine", func() error { return odd.has(1) })
	if err := still.has(0); err != nil {
		t.Errorf("of a cluster that is paused: %v", err)
	}
	still.goesOn()
	w.eventually("of one that is not paused any more there is to be a machine", func() error { return still.has(1) })
	odd.ends(p, odd.object, odd.pool, still.object, still.pool)
}

// goesOn has somebody take the pause from the cluster.
func (c *cluster) goesOn() {
	c.Helper()
	if err := c.Patch(c.Context(), c.object.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"paused":false}}`))); err != nil {
		c.Fatal(err)
	}
}
