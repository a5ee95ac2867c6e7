package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestAnUpgradeThatHasNotArrivedIsNotDone when it is ordered again: what is wanted is no news, and what is served counts.
func TestAnUpgradeThatHasNotArrivedIsNotDone(t *testing.T) {
	d := newDesk(t)
	ref := func(group, kindName string) map[string]any {
		return map[string]any{"templateRef": map[string]any{"apiVersion": group + "/v1alpha1", "kind": kindName, "name": "local"}}
	}
	class := object("ClusterClass", "default", "local", map[string]any{"spec": map[string]any{
		"infrastructure": ref("infrastructure.umbel.dev", "HostedClusterTemplate"), "controlPlane": ref("controlplane.umbel.dev", "HostedControlPlaneTemplate"),
		"kubernetesVersions": []any{"v1.35.4", "v1.36.3"},
	}})
	d.create(&class)
	cluster := d.cluster("late", nil)
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "late", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/late"}}}
	if err := d.hub.Create(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	serves := func(version string) {
		t.Helper()
		versions := []any{map[string]any{"version": version, "replicas": int64(1)}}
		if err := unstructured.SetNestedSlice(cluster.Object, versions, "status", "controlPlane", "versions"); err != nil {
			t.Fatal(err)
		}
		if err := d.hub.Status().Update(t.Context(), cluster); err != nil {
			t.Fatal(err)
		}
	}
	serves("v1.35.4")
	d.eventually("while the old one is served that is said", func(context.Context) error { // in so short a time a busy hub may say nothing
		_, _, err := d.umbel("upgrade", "late", "--version", "1.36", "--timeout", "3s")
		if err == nil {
			t.Fatal("while the old one is served it is done")
		}
		if !strings.Contains(err.Error(), "it serves v1.35.4") {
			return err
		}
		return nil
	})
	serves("v1.36.3")
	// Nobody has ever joined it: the fleet hears nothing of it, and is not waited for.
	if _, errs, err := d.umbel("upgrade", "late", "--version", "1.36", "--timeout", "1m"); err != nil || !strings.Contains(errs, "nothing is changed") {
		t.Errorf("when it has arrived: got %v\n%s", err, errs)
	}
}

// TestAllAPIServersAreAskedBeforeAnUpgrade: of three members of a control plane each counts for itself which deprecated APIs are in use, and
// the command asks all of them.
func TestAllAPIServersAreAskedBeforeAnUpgrade(t *testing.T) {
	d := newDesk(t)
	ref := func(group, kindName string) map[string]any {
		return map[string]any{"templateRef": map[string]any{"apiVersion": group + "/v1alpha1", "kind": kindName, "name": "local"}}
	}
	class := object("ClusterClass", "default", "three", map[string]any{"spec": map[string]any{
		"infrastructure": ref("infrastructure.umbel.dev", "HostedClusterTemplate"), "controlPlane": ref("controlplane.umbel.dev", "HostedControlPlaneTemplate"),
		"kubernetesVersions": []any{"v1.35.4", "v1.36.3"},
	}})
	d.create(&class)
	cluster := object("Cluster", "default", "three", map[string]any{"spec": map[string]any{"topology": map[string]any{
		"version": "v1.35.4", "classRef": map[string]any{"name": "three"}, "controlPlane": map[string]any{"replicas": int64(3)},
	}}})
	d.create(&cluster)
	set := map[string]any{"controlPlane": map[string]any{"versions": []any{map[string]any{"version": "v1.35.4", "replicas": int64(3)}}}}
	if err := unstructured.SetNestedMap(cluster.Object, set, "status"); err != nil {
		t.Fatal(err)
	}
	if err := d.hub.Status().Update(t.Context(), &cluster); err != nil {
		t.Fatal(err)
	}
	planes := startPlanes(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "three-kubeconfig"}, Data: map[string][]byte{"value": planes.kubeconfig}}
	if err := d.hub.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	upgrade := func() (string, string, error) { return d.umbel("upgrade", "three", "--version", "1.36", "--dry-run") }
	if out, errs, err := upgrade(); err != nil || !strings.Contains(errs, "no deprecated API has been in use") || !strings.Contains(out, "v1.36.3") {
		t.Errorf("nothing is in use: got %v\n%s%s", err, out, errs)
	}
	planes.counts[1].Store(new(`apiserver_requested_deprecated_apis{group="",removed_release="1.36",resource="old",subresource="",version="v1"} 1`))
	if _, _, err := upgrade(); err == nil || !strings.Contains(err.Error(), "in use are v1 old") {
		t.Errorf("the second one knows of an API that goes: got %v", err)
	}
	planes.stop[2]()
	if _, _, err := upgrade(); err == nil || !strings.Contains(err.Error(), "127.0.0.3") {
		t.Errorf("the third one does not answer, nor does the hub lead to any: got %v", err)
	}
}

// planes are three API servers as far as they are asked here: at addresses of their own, of which the first is that of all.
type planes struct {
	kubeconfig []byte
	counts     [3]atomic.Pointer[string]
	stop       [3]func()
}

func startPlanes(t *testing.T) *planes {
	t.Helper()
	ca, err := identity.NewCA("three", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: "kube-apiserver", Hosts: []string{"127.0.0.1", "kubernetes.default.svc"}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	all, port := &planes{}, "0"
	var slice discoveryv1.EndpointSlice
	for i := range 3 {
		address := fmt.Sprintf("127.0.0.%d", i+1)
		listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
		if err != nil {
			t.Fatal(err)
		}
		at := listener.Addr().(*net.TCPAddr).Port
		port = strconv.Itoa(at)
		slice.Ports = []discoveryv1.EndpointPort{{Port: new(int32(at))}}
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
		all.counts[i].Store(new(""))
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/metrics" {
				_, _ = w.Write([]byte(*all.counts[i].Load()))
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(&discoveryv1.EndpointSliceList{
				TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"}, Items: []discoveryv1.EndpointSlice{slice},
			})
		}))
		_ = server.Listener.Close() // it is replaced
		server.Listener, server.TLS = listener, &tls.Config{Certificates: []tls.Certificate{certificate}}
		server.StartTLS()
		all.stop[i] = server.Close
		t.Cleanup(server.Close)
	}
	config := &rest.Config{Host: "https://127.0.0.1:" + port, TLSClientConfig: rest.TLSClientConfig{CAData: ca.CertPEM()}}
	if all.kubeconfig, err = os.ReadFile(kubetest.Kubeconfig(t, config)); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestWhoIsNotWaitedFor: an agent that is not to come.
func TestWhoIsNotWaitedFor(t *testing.T) {
	bare := grown()
	unstructured.RemoveNestedField(bare.Object, "spec", "topology", "workers")
	known := v1alpha1.MemberClusterStatus{Identity: &v1alpha1.MemberIdentity{KeyFingerprint: "ab"}}
	ours := metav1.ObjectMeta{Name: "dev", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/dev"}}
	for _, c := range []struct {
		reason  string
		cluster *unstructured.Unstructured
		member  v1alpha1.MemberCluster
		want    bool
	}{
		{"it came before", grown(), v1alpha1.MemberCluster{ObjectMeta: ours, Status: known}, true},
		{"it never came", grown(), v1alpha1.MemberCluster{ObjectMeta: ours}, false},
		{"there are no machines", bare, v1alpha1.MemberCluster{ObjectMeta: ours, Status: known}, false},
		{"the member is of another one", grown(), v1alpha1.MemberCluster{Status: known}, false},
	} {
		if got := expected(c.cluster, &c.member); got != c.want {
			t.Errorf("%s: got %t", c.reason, got)
		}
	}
}

func TestAPoolHasArrived(t *testing.T) {
	machine := func(version, available string) unstructured.Unstructured {
		return object("Machine", "default", "m", map[string]any{
			"spec":   map[string]any{"version": version},
			"status": map[string]any{"conditions": []any{map[string]any{"type": "Available", "status": available}}},
		})
	}
	for _, c := range []struct {
		reason   string
		machines []unstructured.Unstructured
		want     bool
	}{
		{"nothing has begun", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.35.4", "True")}, false},
		{"a new one comes", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.35.4", "True"), machine("v1.36.3", "False")}, false},
		{"an old one is left", []unstructured.Unstructured{machine("v1.35.4", "True"), machine("v1.36.3", "True"), machine("v1.36.3", "True")}, false},
		{"the last new one does not work yet", []unstructured.Unstructured{machine("v1.36.3", "True"), machine("v1.36.3", "False")}, false},
		{"one is missing", []unstructured.Unstructured{machine("v1.36.3", "True")}, false},
		{"all are new and at work", []unstructured.Unstructured{machine("v1.36.3", "True"), machine("v1.36.3", "True")}, true},
	} {
		if got, said := arrived(c.machines, 2, "v1.36.3"); got != c.want {
			t.Errorf("%s: got %t, %s", c.reason, got, said)
		}
	}
}

// grown is a cluster of two pools.
func grown() *unstructured.Unstructured {
	c := object("Cluster", "default", "dev", map[string]any{"spec": map[string]any{"topology": map[string]any{
		"version": "v1.36.3", "classRef": map[string]any{"name": "local"},
		"workers": map[string]any{"machineDeployments": []any{
			map[string]any{"name": "workers", "replicas": int64(2)}, map[string]any{"name": "front", "replicas": int64(1)},
		}},
	}}})
	return &c
}
