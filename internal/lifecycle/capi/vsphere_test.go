package capi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/vcentertest"
	"umbel.dev/umbel/internal/programtest"
)

// TestAMachineInVSphere has Cluster API's provider for vSphere, unchanged, run by a hub, clone a machine and power it on in a simulated
// vCenter, in the folder, resource pool and datastore that it names. While the vCenter is away one more is asked for, in another zone, and the
// first one is deleted: nothing goes meanwhile, and both happens when it is back. The provider is killed in the middle of each of these steps. A
// cluster of another namespace is not let in with the credentials of the class. In the end the vCenter has what it had before. What boots is a
// stand-in that has an address and nothing else; test/e2e has a real kubelet.
func TestAMachineInVSphere(t *testing.T) {
	w := newWorld(t)
	center := vcentertest.Start(t, standIn{})
	before := w.inventory(center)
	hub := w.hub()
	vsphere := FolderOf(hub.dir, "vsphere")
	if err := errors.Join(
		os.MkdirAll(string(vsphere), 0o700),
		os.Symlink(programtest.Of(t, "capv"), vsphere.Program()), os.Symlink(programtest.Of(t, "capv.yaml"), vsphere.Components()),
		w.Create(t.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "vsphere"}}),
	); err != nil {
		t.Fatal(err)
	}
	w.eventually("the provider for vSphere serves", 2*time.Minute, w.reason("vsphere", v1alpha1.ReasonServing))

	secret := func(name, value string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}, StringData: map[string]string{"username": center.User, "password": value, "value": "how it joins"}}
	}
	credentials, ofClass := secret("vcenter", "wrong"), secret("vcenter", center.Password)
	ofClass.Namespace = v1alpha1.SystemNamespace
	_ = w.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}) // it may be there
	for _, o := range []client.Object{credentials, ofClass, secret("bootstrap", "")} {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	made := w.createIn("vsphere.yaml", "vcenter.example.com", center.Address)
	place := made[0]
	killed := w.dies(center, hub)
	w.eventually("it is said that the credentials are wrong", time.Minute, w.saying(place, "VCenterAvailable", "False", "Login failure"))
	if err := w.Patch(t.Context(), credentials, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"password":"`+center.Password+`"}}`))); err != nil {
		t.Fatal(err)
	}
	w.eventually("with the right ones the vCenter is there", time.Minute, w.saying(place, "VCenterAvailable", "True", ""))
	w.eventually("the machine is there", 2*time.Minute, w.runsIn(center, "far-1"))
	if given := center.Running()[0].Guest["guestinfo.userdata"]; !strings.Contains(given, "aG93IGl0IGpvaW5z") { // "how it joins"
		t.Errorf("the machine was given %q", given)
	}
	east := vcentertest.Placed{Path: "/DC0/vm/east/far-1", Host: "/DC0/host/DC0_C0", Pool: "/DC0/host/DC0_C0/Resources/DC0_C0_RP1", Datastore: "LocalDS_1", State: "poweredOn"}
	w.has(center, before, east)

	center.Cut()
	class := w.createIn("../../../../examples/vsphere/class.yaml", "vcenter.example.com", center.Address)
	w.createIn("vsphere-2.yaml", "vcenter.example.com", center.Address)
	if err := w.Delete(t.Context(), object("Machine", "far-1")); err != nil {
		t.Fatal(err)
	}
	if err := w.Patch(t.Context(), place, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/look":"now"}}}`))); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is said that the vCenter is away", time.Minute, w.saying(place, "VCenterAvailable", "False", "connection refused"))
	w.has(center, before, east)
	if err := center.Mend(); err != nil {
		t.Fatal(err)
	}
	w.eventually("another machine is there", 2*time.Minute, w.runsIn(center, "far-2"))
	w.eventually("the first one is gone", 2*time.Minute, w.gone(object("Machine", "far-1")))
	w.has(center, before, vcentertest.Placed{Path: "/DC0/vm/west/far-2", Host: "/DC0/host/DC0_C1", Pool: "/DC0/host/DC0_C1/Resources/DC0_C1_RP1", Datastore: "LocalDS_1", State: "poweredOn"})
	for _, o := range class {
		if o.GetKind() == "VSphereDeploymentZone" {
			w.eventually("the zone "+o.GetName()+" is as it says", 2*time.Minute, w.saying(o, "Ready", "True", ""))
		}
	}
	w.eventually("the cluster has the zones", time.Minute, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(made[1]), made[1]); err != nil {
			return err
		}
		zones, _, _ := unstructured.NestedSlice(made[1].Object, "status", "failureDomains")
		if len(zones) != 2 || zones[0].(map[string]any)["name"] != "east" || zones[1].(map[string]any)["name"] != "west" {
			return fmt.Errorf("it has %v", zones)
		}
		return nil
	})
	w.letsNobodyElse(center)

	if err := w.Delete(t.Context(), made[1]); err != nil {
		t.Fatal(err)
	}
	w.eventually("the cluster is gone", 2*time.Minute, w.gone(made[1]))
	if left := center.Running(); len(left) > 0 {
		t.Errorf("machines are left in the vCenter: %v", left)
	}
	if diff := cmp.Diff([]string{"cloned", "destroyed", "poweredOff", "poweredOn"}, killed()); diff != "" {
		t.Errorf("the provider died when a machine was (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, w.inventory(center)); diff != "" {
		t.Errorf("the vCenter has not what it had before (-before +after):\n%s", diff)
	}
}

// letsNobodyElse has a cluster in a namespace that the identity of the class does not name: it is not let in with those credentials.
func (w *world) letsNobodyElse(center *vcentertest.VCenter) {
	w.Helper()
	const team = "team"
	if err := w.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}}); err != nil {
		w.Fatal(err)
	}
	objects := w.parse("vsphere.yaml", "vcenter.example.com", center.Address)[:2]
	place, cluster := objects[0], objects[1]
	if err := unstructured.SetNestedStringMap(place.Object, map[string]string{"kind": "VSphereClusterIdentity", "name": "vcenter"}, "spec", "identityRef"); err != nil {
		w.Fatal(err)
	}
	for _, o := range objects {
		o.SetNamespace(team)
		if err := w.Create(w.Context(), o); err != nil {
			w.Fatal(err)
		}
	}
	w.eventually("another namespace is not let in", 2*time.Minute, w.saying(place, "VCenterAvailable", "False", "namespace "+team+" is not allowed"))
	if err := w.Delete(w.Context(), cluster); err != nil {
		w.Fatal(err)
	}
	w.eventually("its cluster is gone", time.Minute, w.gone(cluster))
}

// dies has the provider of a hub be killed while the vCenter does what it has asked for, once for each kind of that, and returns at which it was.
// Powering on is one step, of which a vCenter is told twice here.
func (w *world) dies(center *vcentertest.VCenter, hub *replica) func() []string {
	var mu sync.Mutex
	at := map[string]bool{}
	center.Watch(func(what string, _ vcentertest.Machine) {
		mu.Lock()
		defer mu.Unlock()
		if pid := hub.runs(w, "vsphere"); pid != 0 && !at[what] && what != "powering-on" {
			at[what] = syscall.Kill(pid, syscall.SIGKILL) == nil
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(at))
	}
}

func (w *world) inventory(center *vcentertest.VCenter) vcentertest.Inventory {
	w.Helper()
	all, err := center.Inventory(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// has checks that a vCenter has these machines and what it had before, by its own list. Of a host they say in which cluster it is.
func (w *world) has(center *vcentertest.VCenter, before vcentertest.Inventory, machines ...vcentertest.Placed) {
	w.Helper()
	var got []vcentertest.Placed
	for _, m := range w.inventory(center).Machines {
		if !slices.ContainsFunc(before.Machines, func(other vcentertest.Placed) bool { return other.Path == m.Path }) {
			m.Host = path.Dir(m.Host)
			got = append(got, m)
		}
	}
	if diff := cmp.Diff(machines, got); diff != "" {
		w.Errorf("machines of the vCenter (-want +got):\n%s", diff)
	}
}

// runsIn checks that these Machines are there, and that they are what runs in the vCenter.
func (w *world) runsIn(center *vcentertest.VCenter, names ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		var ids, running []string
		for _, name := range names {
			machine := object("Machine", name)
			if err := w.Get(ctx, client.ObjectKeyFromObject(machine), machine); err != nil {
				return err
			}
			if err := conditionIs(machine, "InfrastructureReady", "True"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			id, _, _ := unstructured.NestedString(machine.Object, "spec", "providerID")
			ids = append(ids, id)
		}
		for _, m := range center.Running() {
			running = append(running, "vsphere://"+m.UUID)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, running) {
			return fmt.Errorf("they are %v, and %v run", ids, running)
		}
		return nil
	}
}

// saying checks a condition of an object.
func (w *world) saying(o *unstructured.Unstructured, condition, status, words string) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, one := range conditions {
			c, _ := one.(map[string]any)
			if c["type"] == condition && c["status"] == status && strings.Contains(fmt.Sprint(c["message"]), words) {
				return nil
			}
		}
		return fmt.Errorf("it says %v", conditions)
	}
}

// createIn makes the objects of a file of testdata, as parse returns them, in the namespace default.
func (w *world) createIn(file, word, with string) []*unstructured.Unstructured {
	w.Helper()
	objects := w.parse(file, word, with)
	for _, o := range objects {
		o.SetNamespace(metav1.NamespaceDefault)
		if err := w.Create(w.Context(), o); err != nil {
			w.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	return objects
}

// parse reads a file of testdata, with something in the place of a word, and without what the provider local would bring.
func (w *world) parse(file, word, with string) []*unstructured.Unstructured {
	w.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		w.Fatal(err)
	}
	objects, err := Parse(bytes.ReplaceAll(raw, []byte(word), []byte(with)))
	if err != nil {
		w.Fatal(err)
	}
	return slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GroupVersionKind().Group == "infrastructure.umbel.dev"
	})
}

// standIn is the computer of a test that boots nothing: its machines have an address and nothing else.
type standIn struct{}

// Boot implements vcentertest.Computer.
func (standIn) Boot(context.Context, vcentertest.Machine) (string, error) { return "192.0.2.7", nil }

// End implements vcentertest.Computer.
func (standIn) End(context.Context, vcentertest.Machine) error { return nil }
