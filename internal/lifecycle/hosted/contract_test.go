package hosted

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/kube/process"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/lifecycle/local"
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(kubetest.Main(m))
}

// computer is the machine that clusters are made on. Its control plane is a real one, on the loopback; its machines and places are
// notes only: real ones are namespaces, which the stories of test/e2e make.
type computer struct {
	plane local.Plane

	mu     sync.Mutex
	placed map[string]string // owner by name
	taken  []infra.TakenRange
	joins  map[string]controlplane.Enrolment
	nodes  []string
	broken error // what raising a control plane comes to
	raises int
	begun  bool // what it was last told of whether the control plane has served
	ends   int  // of the control plane
	halts  int  // likewise, with its data
	store

	silent bool            // no kubelet answers
	down   map[string]bool // machines that do not run
	gone   map[string]bool // machines that have lost what they had
	rests  bool            // nothing is renewed
	hangs  bool            // raising a machine takes as long as it may
}

// Taken says that a cluster of `umbel local` was made by itself.
func (c *computer) Taken() ([]infra.TakenRange, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken, nil
}

func (c *computer) Claim(_ context.Context, h local.Hosted) (local.Ranges, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := h.Ranges.Validate(); err != nil {
		return local.Ranges{}, err
	}
	if owner, taken := c.placed[h.Name]; taken && owner != h.Owner {
		return local.Ranges{}, &local.OwnedError{Name: h.Name, Owner: owner}
	}
	c.placed[h.Name] = h.Owner
	c.joins[h.Name] = h.Enrolment
	return local.Ranges{Pods: netip.MustParsePrefix("10.65.0.0/16"), Services: netip.MustParsePrefix("10.129.0.0/16"), Balancer: h.Ranges.Balancer}, nil
}

func (c *computer) Release(_ context.Context, h local.Hosted) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.placed[h.Name] == h.Owner {
		delete(c.placed, h.Name)
	}
	return nil
}

func (c *computer) Plane(local.Hosted) (local.Plane, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.plane
	if c.broken != nil || c.raises == 0 {
		p.Members = nil
	}
	p.Restored = c.restored
	return p, nil
}

func (c *computer) RaisePlane(_ context.Context, h local.Hosted) (local.Plane, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plane.Restored = c.restored
	c.begun = h.Begun
	if c.broken != nil {
		return local.Plane{}, c.broken
	}
	c.raises++
	c.plane.Version = h.Version
	return c.plane, nil
}

func (c *computer) RenewPlane(_ local.Hosted, now time.Time) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rests {
		return time.Time{}, nil
	}
	return c.plane.ControlPlane.Renew(now)
}

func (c *computer) RenewMachine(local.Hosted, string, time.Time) (time.Time, error) {
	return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), nil
}

func (c *computer) HaltPlane(context.Context, local.Hosted) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halts++
	return nil
}

func (c *computer) HaltMachine(_ context.Context, _ local.Hosted, node string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asleep = append(c.asleep, node)
	return nil
}

func (c *computer) EndPlane(context.Context, local.Hosted) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends++
	return nil
}

// told returns whether the last who had the control plane raised knew that it has served before.
func (c *computer) told() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

func (c *computer) ended() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ends
}

func (c *computer) Machine(_ local.Hosted, node string) (local.Machine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.nodes, node) {
		return local.Machine{}, &local.NotFoundError{Name: node}
	}
	m := local.Machine{Node: node, Address: "10.203.1.11", PID: 7, Lost: c.gone[node]}
	if c.down[node] || m.Lost {
		m.PID = 0
	}
	return m, nil
}

func (c *computer) RaiseMachine(ctx context.Context, h local.Hosted, node string) (local.Machine, error) {
	c.mu.Lock()
	hangs := c.hangs
	if !hangs && !slices.Contains(c.nodes, node) {
		c.nodes = append(c.nodes, node)
	}
	if !hangs {
		delete(c.down, node)
	}
	c.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return local.Machine{}, ctx.Err()
	}
	return c.Machine(h, node)
}

func (c *computer) AskKubelet(context.Context, local.Machine) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent {
		return errors.New("its kubelet does not answer")
	}
	return nil
}

func (c *computer) LoseMachine(ctx context.Context, h local.Hosted, node string) error {
	return c.EndMachine(ctx, h, node)
}

// is changes what is so on the computer.
func (c *computer) is(change func(*computer)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *computer) EndMachine(_ context.Context, _ local.Hosted, node string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = slices.DeleteFunc(c.nodes, func(n string) bool { return n == node })
	return nil
}

// ran has the control plane run that version already, and machines.
func (c *computer) ran(version string, nodes ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raises, c.plane.Version, c.nodes = 1, version, nodes
}

func (c *computer) breaks(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = err
}

func (c *computer) places() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for name, owner := range c.placed {
		all = append(all, name+" of "+owner)
	}
	slices.Sort(all)
	return all
}

// world is a hub's API with Cluster API's kinds and the provider; Cluster API's part is played by the tests, so that each step can
// be looked at.
type world struct {
	*testing.T
	client.Client
	config  *rest.Config
	host    *computer
	version string
	ahead   atomic.Int64 // how far its clock is
}

// newWorld's computer has these versions; none for the one that its control plane runs.
func newWorld(t *testing.T, versions ...string) *world {
	t.Helper()
	w := newBareWorld(t)
	if len(versions) == 0 {
		versions = []string{w.version}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := w.serve(ctx, w.config, w.host, versions)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

// serve runs the provider until ctx ends.
func (w *world) serve(ctx context.Context, config *rest.Config, host Host, versions []string) (ended <-chan error) {
	w.Helper()
	m, err := NewManager(Needs{Config: config, Health: "0", Host: host, Versions: versions, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }})
	if err != nil {
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- m.Start(ctx) }()
	return done
}

// newBareWorld is one without a provider.
func newBareWorld(t *testing.T) *world {
	t.Helper()
	config := kubetest.Start(t)
	scheme, err := NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	installKinds(t, c)
	plane, version := runPlane(t)
	w := &world{T: t, Client: c, config: config, version: version, host: &computer{plane: plane, placed: map[string]string{"taken": "other/taken"}, joins: map[string]controlplane.Enrolment{}}}
	w.host.store = store{T: t, dir: t.TempDir()}
	return w
}

// installKinds brings our kinds and Cluster API's into the API; what converts between its versions is not there.
func installKinds(t *testing.T, c client.Client) {
	t.Helper()
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(kube), "umbel-capi"), "components").Output()
	if err != nil {
		t.Fatalf("%v: `make capi` builds it", err)
	}
	kinds, err := capi.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(deploy.Infrastructure, "infrastructure/*.yaml")
	if err != nil || len(files) != 9 {
		t.Fatalf("found the kinds %v (%v)", files, err)
	}
	for _, file := range files {
		raw, err := fs.ReadFile(deploy.Infrastructure, file)
		if err != nil {
			t.Fatal(err)
		}
		own, err := capi.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, own...)
	}
	for _, kind := range kinds {
		if kind.GetKind() != "CustomResourceDefinition" {
			continue
		}
		unstructured.RemoveNestedField(kind.Object, "spec", "conversion")
		if err := c.Create(t.Context(), kind); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("installing %s: %v", kind.GetName(), err)
		}
	}
	eventually(t, "the kinds are served", func(ctx context.Context) error {
		list := &unstructured.UnstructuredList{}
		for _, gvk := range []string{"Cluster", "Machine"} {
			list.SetGroupVersionKind(clusterKind.GroupVersion().WithKind(gvk + "List"))
			if err := c.List(ctx, list); err != nil {
				return err
			}
		}
		return errors.Join(c.List(ctx, &infra.HostedClusterList{}), c.List(ctx, &infra.HostedControlPlaneList{}), c.List(ctx, &infra.LocalMachineList{}), c.List(ctx, &infra.LocalBootstrapList{}))
	})
}

// runPlane runs a real etcd and API server, on the loopback.
func runPlane(t *testing.T) (local.Plane, string) {
	t.Helper()
	binary, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	version, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := controlplane.FreePorts()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plane, err := controlplane.New(controlplane.Config{
		Name: "dev", Dir: dir, Binary: binary, Address: netip.MustParseAddr("127.0.0.1"),
		Ports: ports, ServiceCIDR: netip.MustParsePrefix("10.129.0.0/16"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := plane.Prepare(); err != nil {
		t.Fatal(err)
	}
	supervisor, err := process.New(process.Config{Processes: plane.Processes(), LogDir: filepath.Join(dir, "logs"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- supervisor.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	ready, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	if err := errors.Join(supervisor.WaitReady(ready), plane.Bootstrap(ready)); err != nil {
		t.Fatal(err)
	}
	return local.Plane{Members: []local.PlaneMember{{Name: "dev-0", URL: plane.URL(), PID: 1, Data: true}}, Address: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(ports.API)), ControlPlane: plane}, strings.TrimSpace(string(version))
}

func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if ctx.Err() == nil { // what is not answered at the end is not what it waited for
			last = err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v (last: %v)", what, err, last)
	}
}

// cluster makes a Cluster whose parts have its name.
func (w *world) cluster(name string, spec map[string]any) *unstructured.Unstructured {
	w.Helper()
	o := newObject(clusterKind)
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetName(name)
	all := map[string]any{
		"infrastructureRef": map[string]any{"apiGroup": infra.GroupVersion.Group, "kind": "HostedCluster", "name": name},
		"controlPlaneRef":   map[string]any{"apiGroup": infra.GroupVersion.Group, "kind": "HostedControlPlane", "name": name},
	}
	for k, v := range spec {
		all[k] = v
	}
	o.Object["spec"] = all
	w.create(o)
	return o
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		ctx := context.WithoutCancel(w.Context())
		_ = w.Client.Delete(ctx, o) // first: nobody can add a finalizer to what is being deleted, which the next test's provider would find
		_ = w.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
	})
}

// owned gives an object its owner, as Cluster API does, and the label of its cluster.
func owned(o client.Object, cluster string, owners ...*unstructured.Unstructured) client.Object {
	o.SetNamespace(metav1.NamespaceDefault)
	o.SetLabels(map[string]string{clusterLabel: cluster})
	for _, owner := range owners {
		o.SetOwnerReferences(append(o.GetOwnerReferences(), metav1.OwnerReference{
			APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(),
		}))
	}
	return o
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }

// status writes what Cluster API says.
func (w *world) status(o *unstructured.Unstructured, status string) {
	w.Helper()
	if err := w.Status().Patch(w.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"status":`+status+`}`))); err != nil {
		w.Fatal(err)
	}
}

// poke has an object looked at now, and not seconds later.
func (w *world) poke(o client.Object) {
	w.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"poked":%q}}}`, time.Now())
	if err := w.Patch(w.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

// says waits until an object has a condition, for a reason and with a message that has a part.
func (w *world) says(o client.Object, kind, reason, part string) {
	w.Helper()
	eventually(w.T, fmt.Sprintf("%T %s says %s: %s", o, o.GetName(), reason, part), func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		c := meta.FindStatusCondition(conditions(o), kind)
		if c == nil || c.Reason != reason || !strings.Contains(c.Message, part) {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
}

func conditions(o client.Object) []metav1.Condition {
	switch o := o.(type) {
	case *infra.HostedCluster:
		return o.Status.Conditions
	case *infra.HostedControlPlane:
		return o.Status.Conditions
	case *infra.LocalMachine:
		return o.Status.Conditions
	case *infra.ClusterBackup:
		return o.Status.Conditions
	case *infra.LocalBootstrap:
		return o.Status.Conditions
	}
	return nil
}

// TestTheContract goes through what Cluster API's contract v1beta2 asks of a provider, in the order in which a cluster comes to be
// and ends.
func TestTheContract(t *testing.T) {
	w := newWorld(t)
	cluster := w.cluster("dev", nil)

	place := &infra.HostedCluster{ObjectMeta: named("dev"), Spec: infra.HostedClusterSpec{LoadBalancer: &infra.LoadBalancer{Addresses: "10.203.129.0/28"}}}
	w.create(owned(place, "dev"))
	w.says(place, infra.ConditionReady, infra.ReasonWaiting, "ownerReferences")
	if len(w.host.places()) != 1 || len(place.Finalizers) != 0 || place.Status.Initialization != nil {
		t.Errorf("before Cluster API said whose it is: %v, %+v", w.host.places(), place)
	}
	before := place.DeepCopy()
	owned(place, "dev", cluster)
	if err := w.Patch(t.Context(), place, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.says(place, infra.ConditionReady, infra.ReasonWaiting, "its control plane has not served yet")
	if place.Status.Pods != "10.65.0.0/16" || place.Status.Services != "10.129.0.0/16" || place.Status.LoadBalancer != "10.203.129.0/28" || !controllerutil.ContainsFinalizer(place, infra.Finalizer) {
		t.Errorf("the place is %+v", place)
	}

	w.host.breaks(errors.New("etcd does not start"))
	plane := &infra.HostedControlPlane{ObjectMeta: named("dev"), Spec: infra.HostedControlPlaneSpec{Version: w.version}}
	w.create(owned(plane, "dev", cluster))
	w.says(plane, infra.ConditionAvailable, infra.ReasonFailing, "etcd does not start")
	if w.host.told() {
		t.Error("it is said of a control plane that never served that it has")
	}
	if plane.Status.Initialization != nil || plane.Spec.ControlPlaneEndpoint != nil || *plane.Status.ReadyReplicas != 0 {
		t.Errorf("a control plane that did not come up is %+v", plane)
	}
	w.host.breaks(nil)
	w.poke(plane)
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "its API serves at https://127.0.0.1")
	w.initialized(plane)
	w.kubeconfig(plane)
	w.ownsAgain("dev-kubeconfig", plane)
	w.ended(plane)

	w.says(place, infra.ConditionReady, infra.ReasonServing, "")
	if !*place.Status.Initialization.Provisioned || len(place.Status.FailureDomains) != 1 || place.Status.FailureDomains[0].Name != "this-machine" || !*place.Status.FailureDomains[0].ControlPlane {
		t.Errorf("the place is %+v", place.Status)
	}
	w.status(cluster, `{"initialization":{"infrastructureProvisioned":true}}`)
	w.machine(cluster)

	// What Cluster API waited for never becomes false again.
	w.host.breaks(errors.New("the disk is full"))
	w.poke(plane)
	w.says(plane, infra.ConditionAvailable, infra.ReasonFailing, "and not all is as it should be: the disk is full")
	w.kubeconfig(plane) // its API serves still, and is to be reached
	if !w.host.told() {
		t.Error("of a control plane that has served an empty one may be begun")
	}
	if !*plane.Status.Initialization.ControlPlaneInitialized || *plane.Status.AvailableReplicas != 0 {
		t.Errorf("a control plane that went is %+v", plane.Status)
	}
	w.host.breaks(nil)
	w.poke(plane)
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")

	w.protected(cluster, plane, place)
	w.end(plane, place)
}

// protected deletes the parts of a protected Cluster, and not that, as it is when its namespace is deleted: they stay, and are kept
// going, until it is not protected any more.
func (w *world) protected(cluster *unstructured.Unstructured, plane *infra.HostedControlPlane, place *infra.HostedCluster) {
	w.Helper()
	protect := func(value string) {
		patch := `{"metadata":{"annotations":{"` + v1alpha1.ProtectedAnnotation + `":` + value + `}}}`
		if err := w.Patch(w.Context(), cluster, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			w.Fatal(err)
		}
	}
	protect(`"true"`)
	for _, o := range []client.Object{place, plane} {
		if err := w.Client.Delete(w.Context(), o); err != nil {
			w.Fatal(err)
		}
	}
	w.says(place, infra.ConditionReady, infra.ReasonRefused, "`umbel cluster unprotect dev -n default` has it end")
	w.says(plane, infra.ConditionAvailable, infra.ReasonRefused, "Cluster dev is protected and is not being deleted")
	w.says(plane, infra.ConditionAvailable, infra.ReasonRefused, "its API serves at https://127.0.0.1")
	if n := w.host.ended(); n != 0 || len(w.host.places()) != 2 {
		w.Errorf("the control plane of a protected Cluster was ended %d times; the places are %v", n, w.host.places())
	}
	protect("null")
	eventually(w.T, "the control plane ends", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(plane), plane); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there (%w)", err)
		}
		return nil
	})
	if w.host.ended() == 0 {
		w.Error("its object is gone, and nobody has ended the control plane")
	}
}

// initialized looks at what Cluster API reads of a control plane that serves.
func (w *world) initialized(plane *infra.HostedControlPlane) {
	w.Helper()
	s := plane.Status
	if !*s.Initialization.ControlPlaneInitialized || !*s.ExternalManagedControlPlane || s.Version != w.version {
		w.Errorf("the control plane is %+v", s)
	}
	for name, n := range map[string]*int32{"replicas": s.Replicas, "readyReplicas": s.ReadyReplicas, "availableReplicas": s.AvailableReplicas, "upToDateReplicas": s.UpToDateReplicas} {
		if n == nil || *n != 1 {
			w.Errorf("status.%s is %v", name, n)
		}
	}
	if len(s.Versions) != 1 || s.Versions[0].Version != w.version || *s.Versions[0].Replicas != 1 {
		w.Errorf("status.versions is %+v", s.Versions)
	}
	at := plane.Spec.ControlPlaneEndpoint
	if at == nil || at.Host != "127.0.0.1" || at.Port != int32(w.host.plane.Address.Port()) {
		w.Errorf("spec.controlPlaneEndpoint is %+v", at)
	}
}

// kubeconfig looks at the Secret by which Cluster API reaches the cluster, and uses it.
func (w *world) kubeconfig(plane *infra.HostedControlPlane) {
	w.Helper()
	secret := &corev1.Secret{}
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: plane.Namespace, Name: plane.Name + "-kubeconfig"}, secret); err != nil {
		w.Fatal(err)
	}
	if secret.Type != "cluster.x-k8s.io/secret" || secret.Labels[clusterLabel] != plane.Name || !metav1.IsControlledBy(secret, plane) {
		w.Errorf("the Secret is %s %v of %v", secret.Type, secret.Labels, secret.OwnerReferences)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(secret.Data["value"])
	if err != nil {
		w.Fatal(err)
	}
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := c.CoreV1().Namespaces().Get(w.Context(), "kube-system", metav1.GetOptions{}); err != nil {
		w.Errorf("with the kubeconfig: %v", err)
	}
	// One that is soon over is made anew.
	before := secret.Data["value"]
	soonOver := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, validUntilAnnotation, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	if err := w.Patch(w.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(soonOver))); err != nil {
		w.Fatal(err)
	}
	w.poke(plane)
	eventually(w.T, "the kubeconfig is renewed", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		if string(secret.Data["value"]) == string(before) {
			return errors.New("it is as before")
		}
		return nil
	})
}

// ownsAgain takes a Secret's owner away, as whoever brings objects back from a backup without any: it has it again.
func (w *world) ownsAgain(name string, owner client.Object) {
	w.Helper()
	key := client.ObjectKey{Namespace: owner.GetNamespace(), Name: name}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: name}}
	if err := w.Patch(w.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"ownerReferences":null}}`))); err != nil {
		w.Fatal(err)
	}
	w.poke(owner)
	eventually(w.T, "the Secret "+name+" has its owner again", func(ctx context.Context) error {
		if err := w.Get(ctx, key, secret); err != nil {
			return err
		}
		if !metav1.IsControlledBy(secret, owner) {
			return fmt.Errorf("it has %v", secret.OwnerReferences)
		}
		return nil
	})
}

// ended has the certificate of the API be over, as where the provider was away for long: nobody can ask it. It is renewed all the same.
func (w *world) ended(plane *infra.HostedControlPlane) {
	w.Helper()
	ca, err := w.host.plane.ControlPlane.CA()
	if err != nil {
		w.Fatal(err)
	}
	ca.Now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	files := filepath.Join(filepath.Dir(w.host.plane.ControlPlane.AdminKubeconfig()), "pki", "apiserver")
	pair, err := identity.LoadKeyPair(files+".crt", files+".key")
	if err != nil {
		w.Fatal(err)
	}
	key, err := identity.ParseKey(pair.KeyPEM)
	if err != nil {
		w.Fatal(err)
	}
	over, err := ca.Sign(identity.Request{CommonName: "kube-apiserver", Hosts: []string{"127.0.0.1"}, TTL: time.Hour}, key.Public(), x509.ExtKeyUsageServerAuth)
	if err != nil {
		w.Fatal(err)
	}
	w.host.is(func(c *computer) { c.rests = true })
	if err := os.WriteFile(files+".crt", over, 0o644); err != nil {
		w.Fatal(err)
	}
	w.poke(plane)
	w.says(plane, infra.ConditionAvailable, infra.ReasonFailing, "certificate has expired")
	w.host.is(func(c *computer) { c.rests = false })
	w.poke(plane)
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")
	if end := plane.Status.CertificatesExpire; end == nil || time.Until(end.Time) < 300*24*time.Hour {
		w.Errorf("the first certificate ends at %v", end)
	}
}

// machine has a machine come up, step by step.
func (w *world) machine(cluster *unstructured.Unstructured) {
	w.Helper()
	owner := newObject(machineKind)
	owned(owner, "dev", cluster)
	owner.SetName("dev-a")
	ref := func(kind string) map[string]any {
		return map[string]any{"apiGroup": infra.GroupVersion.Group, "kind": kind, "name": "dev-a"}
	}
	owner.Object["spec"] = map[string]any{
		"clusterName": "dev", "version": w.version, "bootstrap": map[string]any{"configRef": ref("LocalBootstrap")}, "infrastructureRef": ref("LocalMachine"),
	}
	w.create(owner)
	bootstrap, m := &infra.LocalBootstrap{ObjectMeta: named("dev-a")}, &infra.LocalMachine{ObjectMeta: named("dev-a")}
	w.create(owned(bootstrap, "dev", owner))
	w.create(owned(m, "dev", owner))
	w.says(bootstrap, infra.ConditionReady, infra.ReasonWaiting, "has not served yet")
	w.says(m, infra.ConditionReady, infra.ReasonWaiting, "no bootstrap data")
	if bootstrap.Status.DataSecretName != "" || m.Spec.ProviderID != "" || len(m.Finalizers) != 0 {
		w.Errorf("before the API has served: %+v, %+v", bootstrap.Status, m)
	}

	w.status(cluster, `{"initialization":{"controlPlaneInitialized":true}}`)
	w.says(bootstrap, infra.ConditionReady, infra.ReasonServing, "")
	secret := &corev1.Secret{}
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: bootstrap.Namespace, Name: bootstrap.Status.DataSecretName}, secret); err != nil {
		w.Fatal(err)
	}
	if !*bootstrap.Status.Initialization.DataSecretCreated || secret.Type != "cluster.x-k8s.io/secret" || secret.Labels[clusterLabel] != "dev" ||
		string(secret.Data["value"]) != `{"cluster":"dev"}` || !metav1.IsControlledBy(secret, bootstrap) {
		w.Errorf("the bootstrap data are %+v of %+v", secret, bootstrap.Status)
	}
	w.ownsAgain("dev-a", bootstrap)
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: bootstrap.Namespace, Name: "theirs"}})
	theirs := &infra.LocalBootstrap{ObjectMeta: named("theirs")}
	w.create(owned(theirs, "dev", owner))
	w.says(theirs, infra.ConditionReady, infra.ReasonRefused, "the Secret theirs is somebody else's")

	if err := w.Patch(w.Context(), owner, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"bootstrap":{"dataSecretName":"dev-a"}}}`))); err != nil {
		w.Fatal(err)
	}
	w.says(m, infra.ConditionReady, infra.ReasonServing, "")
	if m.Spec.ProviderID != "umbel://dev/dev-a" || !*m.Status.Initialization.Provisioned || m.Status.FailureDomain != "this-machine" ||
		m.Status.CertificatesExpire == nil || len(m.Status.Addresses) != 2 || m.Status.Addresses[0] != (infra.MachineAddress{Type: "InternalIP", Address: "10.203.1.11"}) {
		w.Errorf("the machine is %+v", m)
	}
}

// end waits for the end of all that is being deleted, and deletes the machine, late: the place is last nevertheless.
func (w *world) end(plane *infra.HostedControlPlane, place *infra.HostedCluster) {
	w.Helper()
	w.says(place, infra.ConditionReady, infra.ReasonEnding, "dev-a")
	if places := w.host.places(); len(places) != 2 {
		w.Errorf("while a machine is there the places are %v", places)
	}
	m := &infra.LocalMachine{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "dev-a"}}
	if err := w.Client.Delete(w.Context(), m); err != nil {
		w.Fatal(err)
	}
	for _, o := range []client.Object{m, plane, place} {
		eventually(w.T, fmt.Sprintf("%T is gone", o), func(ctx context.Context) error {
			if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there (%w)", err)
			}
			return nil
		})
	}
	var nodes []string
	w.host.is(func(c *computer) { nodes = slices.Clone(c.nodes) })
	if places := w.host.places(); len(places) != 1 || len(nodes) != 0 {
		w.Errorf("left are the places %v and the machines %v", places, nodes)
	}
}

// TestMachinesElsewhere: the control plane of a cluster whose infrastructure is another provider's has a place of its own, takes machines that
// have nothing but a token, and says by which CA these know it. The place goes with it.
func TestMachinesElsewhere(t *testing.T) {
	w := newWorld(t)
	cluster := w.cluster("far", map[string]any{
		"infrastructureRef": map[string]any{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "VSphereCluster", "name": "far"},
	})
	plane := &infra.HostedControlPlane{ObjectMeta: named("far"), Spec: infra.HostedControlPlaneSpec{Version: w.version}}
	w.create(owned(plane, "far", cluster))
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "its API serves at https://127.0.0.1")
	w.initialized(plane)
	var by controlplane.Enrolment
	w.host.is(func(c *computer) { by = c.joins["far"] })
	if places := w.host.places(); len(places) != 2 || places[0] != "far of default/far" || by != controlplane.ByToken {
		t.Errorf("the places are %v, entered by %v", places, by)
	}
	secret := &corev1.Secret{}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "far-ca"}, secret); err != nil {
		t.Fatal(err)
	}
	ca, err := w.host.plane.ControlPlane.CA()
	if err != nil {
		t.Fatal(err)
	}
	if string(secret.Data["tls.crt"]) != string(ca.CertPEM()) || string(secret.Data["tls.key"]) != noKey || secret.Labels[clusterLabel] != "far" || !metav1.IsControlledBy(secret, plane) {
		t.Errorf("the Secret of the CA is %+v", secret)
	}
	w.ownsAgain("far-ca", plane)
	if err := w.Client.Delete(t.Context(), plane); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the control plane ends", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(plane), plane); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there (%w)", err)
		}
		return nil
	})
	if places := w.host.places(); len(places) != 1 || w.host.ended() == 0 {
		t.Errorf("left are the places %v, and the control plane was ended %d times", places, w.host.ended())
	}

	w.isTold("cloud", awsKind, map[string]any{"controlPlaneLoadBalancer": map[string]any{"loadBalancerType": "disabled"}}, true)
	w.isTold("balanced", awsKind, map[string]any{"controlPlaneLoadBalancer": map[string]any{"loadBalancerType": "nlb"}}, false)
	w.isTold("azure", azureKind, map[string]any{"controlPlaneEnabled": false}, true)
	w.isTold("theirs-in-azure", azureKind, map[string]any{"controlPlaneEnabled": true}, false)

	other := w.cluster("theirs", map[string]any{
		"infrastructureRef": map[string]any{"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "VSphereCluster", "name": "theirs"},
	})
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "theirs-ca"}})
	plane = &infra.HostedControlPlane{ObjectMeta: named("theirs"), Spec: infra.HostedControlPlaneSpec{Version: w.version}}
	w.create(owned(plane, "theirs", other))
	w.says(plane, infra.ConditionAvailable, infra.ReasonRefused, "the Secret theirs-ca is somebody else's")
}

// isTold checks whether the infrastructure of a cluster, of a kind of somebody else's and with such a spec, is told where the API is.
func (w *world) isTold(name string, kind schema.GroupVersionKind, spec map[string]any, told bool) {
	w.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", strings.ToLower(kind.Kind)+".yaml"))
	if err != nil {
		w.Fatal(err)
	}
	kinds, err := capi.Parse(raw)
	if err != nil {
		w.Fatal(err)
	}
	if err := w.Create(w.Context(), kinds[0]); err != nil && !apierrors.IsAlreadyExists(err) {
		w.Fatal(err)
	}
	place := newObject(kind)
	eventually(w.T, "the kind is served", func(ctx context.Context) error {
		place = newObject(kind)
		place.SetNamespace(metav1.NamespaceDefault)
		place.SetName(name)
		place.Object["spec"] = spec
		return w.Create(ctx, place)
	})
	cluster := w.cluster(name, map[string]any{"infrastructureRef": map[string]any{"apiGroup": kind.Group, "kind": kind.Kind, "name": name}})
	plane := &infra.HostedControlPlane{ObjectMeta: named(name), Spec: infra.HostedControlPlaneSpec{Version: w.version}}
	w.create(owned(plane, name, cluster))
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "its API serves at https://127.0.0.1")
	if err := w.Get(w.Context(), client.ObjectKeyFromObject(place), place); err != nil {
		w.Fatal(err)
	}
	want := fmt.Sprint(map[string]any{"host": plane.Spec.ControlPlaneEndpoint.Host, "port": plane.Spec.ControlPlaneEndpoint.Port})
	if !told {
		want = "map[]"
	}
	if at := fmt.Sprint(field[map[string]any](place, "spec", "controlPlaneEndpoint")); at != want {
		w.Errorf("%s %s, of which is said %v, was told %s and not %s", kind.Kind, name, spec, at, want)
	}
}

// TestWhatIsLeftAlone: what is paused, or somebody else's, is not touched at all.
func TestWhatIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	asleep := w.cluster("asleep", map[string]any{"paused": true})
	place := &infra.HostedCluster{ObjectMeta: named("asleep")}
	w.create(owned(place, "asleep", asleep))
	w.says(place, infra.ConditionPaused, infra.ReasonPaused, "spec.paused")

	awake := w.cluster("awake", nil)
	alone := &infra.HostedCluster{ObjectMeta: metav1.ObjectMeta{Name: "awake", Annotations: map[string]string{pausedAnnotation: ""}}}
	w.create(owned(alone, "awake", awake))
	w.says(alone, infra.ConditionPaused, infra.ReasonPaused, "annotation")

	theirs := &infra.HostedCluster{ObjectMeta: metav1.ObjectMeta{Name: "theirs", Annotations: map[string]string{managedByAnnotation: "a person"}}}
	w.create(owned(theirs, "theirs", w.cluster("theirs", nil)))

	// When the one that was paused goes on, the others have been looked at as well.
	if err := w.Patch(t.Context(), asleep, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"paused":false}}`))); err != nil {
		t.Fatal(err)
	}
	w.says(place, infra.ConditionPaused, infra.ReasonNotPaused, "")
	w.says(place, infra.ConditionReady, infra.ReasonWaiting, "its control plane has not served yet")
	for _, o := range []*infra.HostedCluster{alone, theirs} {
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
		if len(o.Finalizers) != 0 || o.Status.Pods != "" {
			t.Errorf("%s was touched: %+v", o.Name, o)
		}
	}
	if len(theirs.Status.Conditions) != 0 {
		t.Errorf("something was said of what is somebody else's: %+v", theirs.Status)
	}
	if places := w.host.places(); len(places) != 2 {
		t.Errorf("the places are %v", places)
	}
}

// TestWhatCannotBeMade is said, with what to change, and made when that has been changed.
func TestWhatCannotBeMade(t *testing.T) {
	w := newWorld(t)
	network := func(pods ...any) map[string]any {
		return map[string]any{"clusterNetwork": map[string]any{"pods": map[string]any{"cidrBlocks": pods}}}
	}
	for _, c := range []struct {
		name, reason, want string
		spec               map[string]any
	}{
		{"taken", infra.ReasonRefused, "that of the Cluster other/taken", nil},
		{"two", infra.ReasonRefused, "one IPv4 network", network("10.1.0.0/16", "fd00::/48")},
		{"small", infra.ReasonFailing, "is to be a /16", network("10.1.0.0/24")},
	} {
		place := &infra.HostedCluster{ObjectMeta: named(c.name)}
		w.create(owned(place, c.name, w.cluster(c.name, c.spec)))
		w.says(place, infra.ConditionReady, c.reason, c.want)
		if place.Status.Initialization != nil {
			t.Errorf("%s: it is provisioned all the same", c.name)
		}
	}
	balanced := &infra.HostedCluster{ObjectMeta: named("balanced"), Spec: infra.HostedClusterSpec{LoadBalancer: &infra.LoadBalancer{Addresses: "some"}}}
	w.create(owned(balanced, "balanced", w.cluster("balanced", nil)))
	w.says(balanced, infra.ConditionReady, infra.ReasonRefused, "spec.loadBalancer.addresses")
	for _, patch := range []string{`{"spec":{"loadBalancer":{"addresses":"0.0.0.0/28"}}}`, `{"spec":{"loadBalancer":null}}`} {
		if err := w.Patch(t.Context(), balanced.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(patch))); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "for good") {
			t.Errorf("a load balancer is changed by %s: got %v", patch, err)
		}
	}
	cluster := w.cluster("old", nil)
	w.create(owned(&infra.HostedCluster{ObjectMeta: named("old")}, "old", cluster))
	plane := &infra.HostedControlPlane{ObjectMeta: named("old"), Spec: infra.HostedControlPlaneSpec{Version: "v1.29.0"}}
	w.create(owned(plane, "old", cluster))
	w.says(plane, infra.ConditionAvailable, infra.ReasonRefused, "Kubernetes v1.29.0 cannot be had on this machine, which has "+w.version)
	if err := w.Patch(t.Context(), plane, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"version":"`+w.version+`"}}`))); err != nil {
		t.Fatal(err)
	}
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")

	two := &infra.HostedControlPlane{ObjectMeta: named("two"), Spec: infra.HostedControlPlaneSpec{Version: w.version, Replicas: new(int32(2))}}
	if err := w.Create(t.Context(), owned(two, "two")); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "1 or 3") {
		t.Errorf("two members: got %v", err)
	}
	w.kinds()
}

// TestAMachineThatIsIll says so, in the words by which Cluster API's health check knows it: False of one that has been well, at once, and
// Unknown of one that is about to come up. What can be raised is; one that has lost what it had is not made anew in its place.
func TestAMachineThatIsIll(t *testing.T) {
	w := newWorld(t)
	cluster := w.cluster("ill", nil)
	w.status(cluster, `{"initialization":{"infrastructureProvisioned":true,"controlPlaneInitialized":true}}`)
	machine := func(name string) *infra.LocalMachine {
		t.Helper()
		owner := newObject(machineKind)
		owned(owner, "ill", cluster)
		owner.SetName(name)
		owner.Object["spec"] = map[string]any{
			"clusterName": "ill", "version": w.version, "bootstrap": map[string]any{"dataSecretName": name},
			"infrastructureRef": map[string]any{"apiGroup": infra.GroupVersion.Group, "kind": "LocalMachine", "name": name},
		}
		w.create(owner)
		m := &infra.LocalMachine{ObjectMeta: named(name)}
		w.create(owned(m, "ill", owner))
		return m
	}
	says := func(m *infra.LocalMachine, status metav1.ConditionStatus, reason, part string) {
		t.Helper()
		w.says(m, infra.ConditionReady, reason, part)
		if c := meta.FindStatusCondition(m.Status.Conditions, infra.ConditionReady); c.Status != status {
			t.Errorf("%s says %+v, want %s", m.Name, c, status)
		}
	}

	w.host.is(func(c *computer) { c.silent = true })
	m := machine("ill-a")
	says(m, metav1.ConditionUnknown, infra.ReasonFailing, "does not answer")
	if !provisioned(m) || m.Spec.ProviderID == "" {
		t.Errorf("while its kubelet starts the machine is %+v", m)
	}
	w.host.is(func(c *computer) { c.silent = false })
	says(m, metav1.ConditionTrue, infra.ReasonServing, "it runs")
	w.host.is(func(c *computer) { c.silent = true })
	w.poke(m)
	says(m, metav1.ConditionFalse, infra.ReasonFailing, "does not answer")
	w.host.is(func(c *computer) { c.silent = false })
	says(m, metav1.ConditionTrue, infra.ReasonServing, "it runs")

	w.host.is(func(c *computer) { c.down, c.hangs = map[string]bool{"ill-a": true}, true })
	w.poke(m)
	says(m, metav1.ConditionFalse, infra.ReasonFailing, "it is being started again")
	if err := w.Client.Delete(t.Context(), m); err != nil { // Cluster API replaces it meanwhile
		t.Fatal(err)
	}
	eventually(t, "it ends, though it is being raised", func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(m), m); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there (%w)", err)
		}
		return nil
	})

	w.host.is(func(c *computer) { c.down, c.hangs = nil, false })
	m = machine("ill-b")
	says(m, metav1.ConditionTrue, infra.ReasonServing, "it runs")
	w.host.is(func(c *computer) { c.gone = map[string]bool{"ill-b": true} })
	w.poke(m)
	says(m, metav1.ConditionFalse, infra.ReasonLost, "MachineHealthCheck")
	w.poke(m) // and it stays so when it is looked at again
	w.host.is(func(c *computer) {
		if len(c.nodes) != 0 {
			t.Errorf("a machine that was lost is there: %v", c.nodes)
		}
	})
	says(m, metav1.ConditionFalse, infra.ReasonLost, "MachineHealthCheck")
}

// TestABuildThatIsGone: after an update of the hub there may be no build of what a cluster runs. What runs is kept, and reached;
// what is to be started is refused.
func TestABuildThatIsGone(t *testing.T) {
	const newer = "v1.99.0"
	w := newWorld(t, newer)
	w.host.ran(w.version, "gone-a")
	cluster := w.cluster("gone", nil)
	w.create(owned(&infra.HostedCluster{ObjectMeta: named("gone")}, "gone", cluster))
	plane := &infra.HostedControlPlane{ObjectMeta: named("gone"), Spec: infra.HostedControlPlaneSpec{Version: w.version}}
	w.create(owned(plane, "gone", cluster))
	w.says(plane, infra.ConditionAvailable, infra.ReasonServing, "")
	w.kubeconfig(plane)

	w.status(cluster, `{"initialization":{"infrastructureProvisioned":true,"controlPlaneInitialized":true}}`)
	for name, want := range map[string]string{"gone-a": infra.ReasonServing, "gone-b": infra.ReasonRefused} {
		owner := newObject(machineKind)
		owned(owner, "gone", cluster)
		owner.SetName(name)
		owner.Object["spec"] = map[string]any{
			"clusterName": "gone", "version": w.version, "bootstrap": map[string]any{"dataSecretName": name},
			"infrastructureRef": map[string]any{"apiGroup": infra.GroupVersion.Group, "kind": "LocalMachine", "name": name},
		}
		w.create(owner)
		m := &infra.LocalMachine{ObjectMeta: named(name)}
		w.create(owned(m, "gone", owner))
		w.says(m, infra.ConditionReady, want, "")
	}

	// A member is lost, and cannot be started. The API serves, by another.
	w.host.breaks(errors.New("nothing is to be raised of a build that is not there"))
	w.poke(plane)
	w.says(plane, infra.ConditionAvailable, infra.ReasonRefused, "its API serves at https://127.0.0.1")
	w.says(plane, infra.ConditionAvailable, infra.ReasonRefused, "Kubernetes "+w.version+" cannot be had on this machine, which has "+newer)
	w.kubeconfig(plane)
}

// kinds checks the labels by which Cluster API knows which contract a kind keeps, and in which versions.
func (w *world) kinds() {
	w.Helper()
	kinds := &metav1.PartialObjectMetadataList{}
	kinds.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinitionList"})
	if err := w.List(w.Context(), kinds); err != nil {
		w.Fatal(err)
	}
	ours := 0
	for _, kind := range kinds.Items {
		if !strings.HasSuffix(kind.Name, "."+infra.GroupVersion.Group) || strings.HasPrefix(kind.Name, "clusterbackups.") {
			continue // the contract knows nothing of backups
		}
		ours++
		if kind.Labels["cluster.x-k8s.io/v1beta2"] != "v1alpha1" {
			w.Errorf("%s has the labels %v", kind.Name, kind.Labels)
		}
	}
	if ours != 8 {
		w.Errorf("there are %d kinds of ours", ours)
	}
}
