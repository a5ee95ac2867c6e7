package capi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/programtest"
)

// TestAMachineInVSphere has Cluster API's provider for vSphere, unchanged, run by a hub, clone a machine and power it on in a simulated
// vCenter, and destroy it. What boots is a stand-in that has an address and nothing else; test/e2e has a real kubelet.
func TestAMachineInVSphere(t *testing.T) {
	w := newWorld(t)
	center := newVCenter(w)
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
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: name}, StringData: map[string]string{"username": center.user, "password": value, "value": "how it joins"}}
	}
	credentials := secret("vcenter", "wrong")
	for _, o := range []client.Object{credentials, secret("bootstrap", "")} {
		if err := w.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	made := w.createIn("vsphere.yaml", "vcenter.example.com", center.address)
	place := made[0]
	w.eventually("it is said that the credentials are wrong", time.Minute, w.saying(place, "VCenterAvailable", "False", "Login failure"))
	if err := w.Patch(t.Context(), credentials, client.RawPatch("application/merge-patch+json", []byte(`{"stringData":{"password":"`+center.password+`"}}`))); err != nil {
		t.Fatal(err)
	}
	w.eventually("with the right ones the vCenter is there", time.Minute, w.saying(place, "VCenterAvailable", "True", ""))
	machine := object("Machine", "far-1")
	w.eventually("the machine is there", 2*time.Minute, func(ctx context.Context) error {
		if err := w.Get(ctx, client.ObjectKeyFromObject(machine), machine); err != nil {
			return err
		}
		id, _, _ := unstructured.NestedString(machine.Object, "spec", "providerID")
		if booted := center.booted(); len(booted) != 1 || id != "vsphere://"+booted[0] {
			return fmt.Errorf("it is %q, and booted were %v; it is said: %v", id, booted, machine.Object["status"])
		}
		return conditionIs(machine, "InfrastructureReady", "True")
	})
	if given := center.given(); !strings.Contains(given, "aG93IGl0IGpvaW5z") { // "how it joins"
		t.Errorf("the machine was given %q", given)
	}
	if err := w.Delete(t.Context(), made[1]); err != nil {
		t.Fatal(err)
	}
	w.eventually("the cluster is gone", 2*time.Minute, w.gone(made[1]))
	if left := center.booted(); len(left) > 0 {
		t.Errorf("machines are left in the vCenter: %v", left)
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

// createIn makes the objects of a file of testdata, with something in the place of a word.
func (w *world) createIn(file, word, with string) []*unstructured.Unstructured {
	w.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		w.Fatal(err)
	}
	objects, err := Parse(bytes.ReplaceAll(raw, []byte(word), []byte(with)))
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

// vCenter is govmomi's simulator of one.
type vCenter struct {
	address, user, password string

	mu       sync.Mutex
	machines map[string]string // UUIDs, by name
	guest    map[string]string // what the last one was given
}

func newVCenter(w *world) *vCenter {
	w.Helper()
	c := &vCenter{user: "administrator@vsphere.local", password: "right", machines: map[string]string{}}
	told := httptest.NewServer(http.HandlerFunc(c.hear))
	w.Cleanup(told.Close)
	sim := exec.Command(programtest.Of(w, "umbel-vcsim"), "--machines", told.URL, "--user", c.user, "--password", c.password)
	sim.Stderr = os.Stderr
	out, err := sim.StdoutPipe()
	if err == nil {
		err = sim.Start()
	}
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := errors.Join(sim.Process.Signal(syscall.SIGTERM), sim.Wait()); err != nil {
			w.Error(err)
		}
	})
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		w.Fatal(err)
	}
	_, c.address, _ = strings.Cut(strings.TrimSpace(first), "https://")
	return c
}

// hear notes what happens to a machine.
func (c *vCenter) hear(w http.ResponseWriter, r *http.Request) {
	var h struct {
		What, Name, UUID string
		Guest            map[string]string
	}
	if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.What == "poweredOn" {
		c.machines[h.Name], c.guest = h.UUID, h.Guest
	} else {
		delete(c.machines, h.Name)
	}
	fmt.Fprint(w, `{"address": "192.0.2.7"}`)
}

// booted returns the UUIDs of the machines that run.
func (c *vCenter) booted() (uuids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, uuid := range c.machines {
		uuids = append(uuids, uuid)
	}
	slices.Sort(uuids)
	return uuids
}

// given returns the user data of the machine that was powered on last.
func (c *vCenter) given() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.guest["guestinfo.userdata"]
}
