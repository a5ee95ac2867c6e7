package hosted

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// life is a provider that is killed after some of its steps, or in the middle of it: a write to the hub's API, or something that it makes on
// the computer. Nothing of what it wants to do after that happens, and of that step it never hears.
type life struct {
	mu    sync.Mutex
	after int // 0: never
	steps []string
	dead  bool
	kill  context.CancelFunc
	ended <-chan error
}

var errKilled = errors.New("killed here")

// step does one.
func (l *life) step(what string, do func() error) error {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return errKilled
	}
	l.steps = append(l.steps, what)
	last := len(l.steps) == l.after
	l.dead = l.dead || last
	l.mu.Unlock()
	err := do()
	if last {
		l.kill()
		return errKilled
	}
	return err
}

// arm has it be killed after so many steps more.
func (l *life) arm(after int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after, l.steps = after, nil
}

// over says whether it was killed, and what it has done since it was armed.
func (l *life) over() (dead bool, steps []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead, slices.Clone(l.steps)
}

// wire has requests pass, and counts those that write.
type wire struct {
	http.RoundTripper
	life *life
}

func (w wire) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	_, name, of := strings.Cut(r.URL.Path, "/namespaces/default/")
	if r.Method == http.MethodGet || !of { // the class is in another namespace
		return w.RoundTripper.RoundTrip(r)
	}
	cut := w.life.step(r.Method+" "+name, func() error {
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

// cutting is a computer whose user may be killed.
type cutting struct {
	*computer
	life *life
}

func (c cutting) Claim(ctx context.Context, h local.Hosted) (r local.Ranges, err error) {
	err = c.life.step("claim a place", func() error { r, err = c.computer.Claim(ctx, h); return err })
	return r, err
}

func (c cutting) Release(ctx context.Context, h local.Hosted) error {
	return c.life.step("give the place back", func() error { return c.computer.Release(ctx, h) })
}

func (c cutting) RaisePlane(ctx context.Context, h local.Hosted) (p local.Plane, err error) {
	err = c.life.step("raise the control plane", func() error { p, err = c.computer.RaisePlane(ctx, h); return err })
	return p, err
}

func (c cutting) EndPlane(ctx context.Context, h local.Hosted) error {
	return c.life.step("end the control plane", func() error { return c.computer.EndPlane(ctx, h) })
}

func (c cutting) RaiseMachine(ctx context.Context, h local.Hosted, node string) (m local.Machine, err error) {
	err = c.life.step("raise a machine", func() error { m, err = c.computer.RaiseMachine(ctx, h, node); return err })
	return m, err
}

func (c cutting) EndMachine(ctx context.Context, h local.Hosted, node string) error {
	return c.life.step("end a machine", func() error { return c.computer.EndMachine(ctx, h, node) })
}

// born runs a provider.
func (w *world) born() *life {
	w.Helper()
	ctx, kill := context.WithCancel(w.Context())
	l := &life{kill: kill}
	config := rest.CopyConfig(w.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return wire{next, l} })
	l.ended = w.serve(ctx, config, cutting{w.host, l}, []string{w.version})
	return l
}

// mortal is a provider that is killed, and another one that goes on.
type mortal struct {
	*world
	life *life
}

func newMortal(t *testing.T) *mortal {
	w := newBareWorld(t)
	m := &mortal{w, w.born()}
	t.Cleanup(func() { m.life.kill(); <-m.life.ended })
	return m
}

// until has something come to be by a provider that is killed after so many steps, and by another one.
func (m *mortal) until(after int, what string, so func(context.Context) error) (killed bool, steps []string) {
	m.Helper()
	eventually(m.T, what+", or the provider is killed", func(ctx context.Context) error {
		if dead, _ := m.life.over(); dead {
			return nil
		}
		return so(ctx)
	})
	if killed, steps = m.life.over(); killed {
		<-m.life.ended // how a provider that was killed ends is nothing to know
		m.life = m.born()
	}
	eventually(m.T, fmt.Sprintf("killed after %d steps: %s (%v)", after, what, steps), so)
	m.life.arm(0)
	return killed, steps
}

// TestTheProviderIsKilledAtEveryStep of a create, and of a deletion: after its first step, after its second, and so on. Another one takes
// over each time, and in the end the cluster is right, and when it has been deleted nothing of it is left.
func TestTheProviderIsKilledAtEveryStep(t *testing.T) {
	w := newMortal(t)
	var creating, ending []string
	for after, cut := 1, true; cut; after++ {
		if after > 60 {
			t.Fatal("a create, or a deletion, has no end")
		}
		w.life.arm(after)
		c := w.asked(fmt.Sprintf("k%d", after))
		created, made := w.until(after, "the cluster is right", c.right)
		w.life.arm(after)
		c.delete()
		deleted, ended := w.until(after, "nothing is left", c.gone)
		if !created && creating == nil {
			creating = made
		}
		if !deleted && ending == nil {
			ending = ended
		}
		cut = created || deleted
	}
	t.Logf("killed after each of the steps of a create:\n  %s", strings.Join(creating, "\n  "))
	t.Logf("and of a deletion:\n  %s", strings.Join(ending, "\n  "))
	for _, part := range []string{"claim a place", "raise the control plane", "raise a machine", "POST secrets", "hostedcontrolplanes/", "/status"} {
		if !strings.Contains(strings.Join(creating, "\n"), part) {
			t.Errorf("no step of a create was %q", part)
		}
	}
	for _, part := range []string{"give the place back", "end the control plane", "end a machine"} {
		if !strings.Contains(strings.Join(ending, "\n"), part) {
			t.Errorf("no step of a deletion was %q", part)
		}
	}
}

// TestTheProviderIsKilledInAnUpgrade of a control plane, likewise: in the end it runs the new version, and its status is of that.
func TestTheProviderIsKilledInAnUpgrade(t *testing.T) {
	const older = "v1.35.4"
	w := newMortal(t)
	c := w.asked("up")
	eventually(t, "the cluster is right", c.right)
	plane := c.parts[2].(*infra.HostedControlPlane)
	var last []string
	for after, killed := 1, true; killed; after++ {
		if after > 20 {
			t.Fatal("an upgrade has no end")
		}
		w.host.ran(older, "up")
		w.wants(plane, older)
		eventually(t, "it runs the old version", func(ctx context.Context) error {
			err := w.runs(ctx, plane, older)
			if err != nil { // a look that began before may have raised the new one
				w.host.ran(older, "up")
			}
			return err
		})
		w.life.arm(after)
		w.wants(plane, w.version)
		killed, last = w.until(after, "it runs the new version", func(ctx context.Context) error { return w.runs(ctx, plane, w.version) })
	}
	t.Logf("killed after each of the steps of an upgrade:\n  %s", strings.Join(last, "\n  "))
	if said := strings.Join(last, "\n"); !strings.Contains(said, "raise the control plane") || !strings.Contains(said, "/status") {
		t.Errorf("the steps of an upgrade were\n%s", said)
	}
}

// TestPartsEndWithTheirCluster when it is their turn, and without anybody telling them so: the machine with its Machine, as soon as nobody keeps
// it, and with it what it was told; the control plane when no Machine is left, the place when there is no control plane. The provider is
// killed after each of its steps.
func TestPartsEndWithTheirCluster(t *testing.T) {
	w := newMortal(t)
	var last []string
	for after, killed := 1, true; killed; after++ {
		if after > 30 {
			t.Fatal("a cluster has no end")
		}
		c := w.asked(fmt.Sprintf("e%d", after))
		eventually(t, "the cluster is right", c.right)
		held := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":["cluster-api.example.com/played"],"annotations":{"`+terminateHook+`/test":""}}}`))
		for _, o := range []client.Object{c.machine, c.cluster} {
			if err := errors.Join(w.Patch(t.Context(), o, held), w.Client.Delete(t.Context(), o)); err != nil {
				t.Fatal(err)
			}
		}
		w.poke(c.parts[0])
		w.says(c.parts[0], infra.ConditionReady, infra.ReasonServing, "")
		if c.parts[0].GetDeletionTimestamp() != nil {
			t.Error("a machine ends that somebody keeps")
		}
		w.life.arm(after)
		if err := w.Patch(t.Context(), c.machine, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":null}}`))); err != nil {
			t.Fatal(err)
		}
		killed, last = w.until(after, "all of it is gone", c.over)
		c.release(c.cluster)
	}
	t.Logf("killed after each of the steps of an end:\n  %s", strings.Join(last, "\n  "))
	var order []string
	for _, step := range last {
		for _, part := range []string{"DELETE localmachines", "DELETE localbootstraps", "end a machine", "DELETE hostedcontrolplanes", "end the control plane", "DELETE hostedclusters", "give the place back"} {
			if strings.HasPrefix(step, part) && !slices.Contains(order, part) {
				order = append(order, part)
			}
		}
	}
	if diff := cmp.Diff([]string{"DELETE localmachines", "DELETE localbootstraps", "end a machine", "DELETE hostedcontrolplanes", "end the control plane", "DELETE hostedclusters", "give the place back"}, order); diff != "" {
		t.Errorf("the parts ended in this order (-want +got):\n%s", diff)
	}
}

// wants has a control plane be of a version.
func (w *world) wants(plane *infra.HostedControlPlane, version string) {
	w.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"version":"`+version+`"}}`))
	if err := w.Patch(w.Context(), plane, patch); err != nil {
		w.Fatal(err)
	}
}

// runs says what is missing until a control plane runs a version, and says so.
func (w *world) runs(ctx context.Context, plane *infra.HostedControlPlane, version string) error {
	if err := w.Get(ctx, client.ObjectKeyFromObject(plane), plane); err != nil {
		return err
	}
	w.host.mu.Lock()
	defer w.host.mu.Unlock()
	if w.host.plane.Version != version {
		return fmt.Errorf("it runs %s", w.host.plane.Version)
	}
	available := meta.FindStatusCondition(plane.Status.Conditions, infra.ConditionAvailable)
	if available == nil || available.Status != metav1.ConditionTrue || available.ObservedGeneration != plane.Generation || *plane.Status.ReadyReplicas != 1 {
		return fmt.Errorf("its status is %+v, at generation %d", plane.Status, plane.Generation)
	}
	return nil
}

// askedFor is a cluster that was asked for, with one machine. Cluster API's part of it is played by right: each look at it does what that
// would do by now.
type askedFor struct {
	*world
	name    string
	cluster *unstructured.Unstructured
	machine *unstructured.Unstructured
	parts   []client.Object
}

func (w *world) asked(name string) *askedFor {
	w.Helper()
	a := &askedFor{world: w, name: name, cluster: w.cluster(name, nil)}
	a.machine = newObject(machineKind)
	owned(a.machine, name, a.cluster)
	a.machine.SetName(name)
	ref := func(kind string) map[string]any {
		return map[string]any{"apiGroup": infra.GroupVersion.Group, "kind": kind, "name": name}
	}
	a.machine.Object["spec"] = map[string]any{
		"clusterName": name, "version": w.version, "bootstrap": map[string]any{"configRef": ref("LocalBootstrap")}, "infrastructureRef": ref("LocalMachine"),
	}
	w.create(a.machine)
	a.parts = []client.Object{
		owned(&infra.LocalMachine{ObjectMeta: named(name)}, name, a.machine),
		owned(&infra.LocalBootstrap{ObjectMeta: named(name)}, name, a.machine),
		owned(&infra.HostedControlPlane{ObjectMeta: named(name), Spec: infra.HostedControlPlaneSpec{Version: w.version}}, name, a.cluster),
		owned(&infra.HostedCluster{ObjectMeta: named(name)}, name, a.cluster),
	}
	for _, part := range a.parts {
		w.create(part)
	}
	return a
}

// right says what is missing until all of the cluster is as it is to be.
func (a *askedFor) right(ctx context.Context) error {
	for _, part := range a.parts {
		if err := a.Get(ctx, client.ObjectKeyFromObject(part), part); err != nil {
			return err
		}
	}
	m, b, plane, place := a.parts[0].(*infra.LocalMachine), a.parts[1].(*infra.LocalBootstrap), a.parts[2].(*infra.HostedControlPlane), a.parts[3].(*infra.HostedCluster)
	if i := place.Status.Initialization; i == nil || !*i.Provisioned {
		return fmt.Errorf("the place is %+v", place.Status)
	}
	if !initialized(plane) || plane.Spec.ControlPlaneEndpoint == nil || *plane.Status.ReadyReplicas != 1 {
		return fmt.Errorf("the control plane is %+v", plane)
	}
	if err := a.Get(ctx, client.ObjectKey{Namespace: plane.Namespace, Name: a.name + kubeconfigSuffix}, &corev1.Secret{}); err != nil {
		return err
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"initialization":{"infrastructureProvisioned":true,"controlPlaneInitialized":true}}}`))
	if err := a.Status().Patch(ctx, a.cluster, patch); err != nil {
		return err
	}
	if b.Status.DataSecretName == "" || a.Get(ctx, client.ObjectKey{Namespace: b.Namespace, Name: b.Status.DataSecretName}, &corev1.Secret{}) != nil {
		return fmt.Errorf("the bootstrap is %+v", b.Status)
	}
	data := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"bootstrap":{"dataSecretName":"`+b.Status.DataSecretName+`"}}}`))
	if err := a.Patch(ctx, a.machine, data); err != nil {
		return err
	}
	for _, c := range m.Status.Conditions {
		if c.Type == infra.ConditionReady && c.Status == metav1.ConditionTrue && m.Spec.ProviderID != "" && provisioned(m) {
			return nil
		}
	}
	return fmt.Errorf("the machine is %+v", m)
}

// delete deletes all parts, as Cluster API does in the end.
func (a *askedFor) delete() {
	a.Helper()
	for _, part := range a.parts {
		if err := a.Client.Delete(a.Context(), part); err != nil {
			a.Fatal(err)
		}
	}
}

// gone says what is left of the cluster.
func (a *askedFor) gone(ctx context.Context) error {
	for _, part := range a.parts {
		if err := a.Get(ctx, client.ObjectKeyFromObject(part), part); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%T is there (%w)", part, err)
		}
	}
	a.host.mu.Lock()
	defer a.host.mu.Unlock()
	if _, placed := a.host.placed[a.name]; placed || slices.Contains(a.host.nodes, a.name) {
		return fmt.Errorf("the places are %v, and the machines %v", a.host.placed, a.host.nodes)
	}
	return nil
}

// over says what is left of a cluster that is deleted. When its machine is gone its Machine is, as Cluster API has it; until then the control
// plane stays.
func (a *askedFor) over(ctx context.Context) error {
	for _, part := range a.parts[:2] {
		if err := a.Get(ctx, client.ObjectKeyFromObject(part), part); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%T is there (%w)", part, err)
		}
	}
	if err := a.Get(ctx, client.ObjectKeyFromObject(a.machine), a.machine); err == nil {
		plane := a.parts[2]
		if err := a.Get(ctx, client.ObjectKeyFromObject(plane), plane); err != nil || plane.GetDeletionTimestamp() != nil {
			a.Errorf("the control plane has ended before the Machine %s (%v)", a.name, err)
		}
		a.release(a.machine)
	}
	return a.gone(ctx)
}

// release has Cluster API be done with an object.
func (a *askedFor) release(o client.Object) {
	a.Helper()
	if err := client.IgnoreNotFound(a.Patch(a.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))); err != nil {
		a.Fatal(err)
	}
}
