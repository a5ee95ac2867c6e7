package cluster

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	kube "sigs.k8s.io/controller-runtime/pkg/client"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/kube/ports"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/programtest"
)

// TestAClusterByWhatSomebodyElseRuns: a hub on an API where Cluster API and a provider (its own, whose clusters are in memory) are somebody
// else's, and at work. The hub leaves both alone, and `umbel cluster` makes a cluster with them, scales it, and ends it.
func TestAClusterByWhatSomebodyElseRuns(t *testing.T) {
	ctrl.SetLogger(logr.Discard())
	api, err := kubetest.Run(t.Context(), controlplane.ControllerManager)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	kubetest.InstallCRDs(t, api.Config)
	d := &desk{T: t, kubeconfig: kubetest.Kubeconfig(t, api.Config)}
	connected, err := d.factory(output.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}).Connect()
	if err != nil {
		t.Fatal(err)
	}
	d.hub = connected.WithWatch

	capd := programtest.Alone(t, "capd")
	core, err := exec.CommandContext(t.Context(), programtest.Of(t, "umbel-capi"), "components").Output()
	if err != nil {
		t.Fatal(err)
	}
	provider, err := os.ReadFile(programtest.Of(t, "capd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	theirs := d.somebodyRuns(programtest.Of(t, "umbel-capi"), core)
	theirs = append(theirs, d.somebodyRuns(capd, provider, "--feature-gates=ClusterTopology=true", "--leader-elect=false", "--diagnostics-address=0")...)
	before := d.generations(theirs)
	folder := d.hubRuns(api.Config, capd)

	raw, err := os.ReadFile(filepath.Join("..", "..", "lifecycle", "capi", "testdata", "class.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	class, err := capi.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range class {
		o.SetNamespace(metav1.NamespaceDefault)
		if err := d.hub.Create(t.Context(), o); err != nil {
			t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	d.eventually("the class is read", func(ctx context.Context) error {
		o := object("ClusterClass", metav1.NamespaceDefault, "in-memory", map[string]any{})
		if err := d.hub.Get(ctx, kube.ObjectKeyFromObject(&o), &o); err != nil {
			return err
		}
		if read := conditionOf(&o, "VariablesReady"); read.status != "True" {
			return fmt.Errorf("VariablesReady is %+v", read)
		}
		return nil
	})
	does := func(args ...string) string {
		t.Helper()
		begun := time.Now()
		out, errs, err := d.umbel(args...)
		if err != nil {
			t.Fatalf("umbel cluster %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
		}
		t.Logf("umbel cluster %s: %s", strings.Join(args, " "), time.Since(begun).Round(100*time.Millisecond))
		return out
	}
	const version = "v1.36.0"
	refused := order{wish: wish{name: "refused", namespace: metav1.NamespaceDefault, class: "in-memory", version: version, workers: 1}, classNamespace: metav1.NamespaceDefault, workerClass: "nothing-such"}
	if err := d.hub.Create(t.Context(), refused.object()); err == nil || !strings.Contains(err.Error(), "admission webhook") || !strings.Contains(err.Error(), "nothing-such") {
		t.Errorf("machines of a class that is not there: %v", err)
	}
	does("create", "theirs", "--class", "in-memory", "--version", version, "--workers", "0", "--labels", "env=dev")
	does("scale", "theirs", "--workers", "1")
	cluster := object("Cluster", metav1.NamespaceDefault, "theirs", map[string]any{})
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(&cluster), &cluster); err != nil {
		t.Fatal(err)
	}
	if workers := number(&cluster, "status", "workers", "availableReplicas"); workers != 1 || cluster.GetLabels()["env"] != "dev" {
		t.Errorf("it has %d workers, and the labels %v", workers, cluster.GetLabels())
	}
	if shown := does("get"); !strings.Contains(shown, "theirs") || !strings.Contains(shown, version) {
		t.Errorf("umbel cluster get:\n%s", shown)
	}
	if shown := does("describe", "theirs"); !strings.Contains(shown, "KubeadmControlPlane theirs-") || !strings.Contains(shown, "Machine theirs-workers-") {
		t.Errorf("umbel cluster describe theirs:\n%s", shown)
	}
	does("delete", "theirs", "--yes")
	if d.there(&cluster) {
		t.Error("it is there when its deletion is over")
	}

	if diff := gocmp.Diff(before, d.generations(theirs)); diff != "" {
		t.Errorf("of what somebody else brought, this is another (-before +after):\n%s", diff)
	}
	for _, name := range []string{v1alpha1.CoreProvider, "dev"} {
		if _, err := os.Stat(filepath.Join(string(capi.FolderOf(folder, name)), "kubeconfig")); !os.IsNotExist(err) {
			t.Errorf("the hub has prepared to run %s: %v", name, err)
		}
	}
}

// somebodyRuns has a program of Cluster API run without any hub, until the test ends, and returns its kinds and webhooks: as its project
// releases them, but that they are served by this process and not behind a Service.
func (d *desk) somebodyRuns(program string, released []byte, args ...string) (brought []*unstructured.Unstructured) {
	d.Helper()
	dir := d.TempDir()
	free, err := ports.Free(2)
	if err != nil {
		d.Fatal(err)
	}
	ca, err := identity.NewCA("somebody else", time.Hour)
	if err != nil {
		d.Fatal(err)
	}
	pair, err := ca.IssueServer(identity.Request{CommonName: "somebody else", Hosts: []string{"127.0.0.1"}, TTL: time.Hour})
	if err != nil {
		d.Fatal(err)
	}
	objects, parsed := capi.Parse(released)
	if err := errors.Join(parsed, pair.Write(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))); err != nil {
		d.Fatal(err)
	}
	for _, o := range objects {
		switch o.GetKind() {
		case "CustomResourceDefinition", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration":
			served(o.Object, fmt.Sprintf("https://127.0.0.1:%d", free[0]), base64.StdEncoding.EncodeToString(ca.CertPEM()))
			if err := d.hub.Create(d.Context(), o); err != nil {
				d.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
			}
			brought = append(brought, o)
		}
	}
	for _, o := range brought {
		d.eventually(o.GetName()+" is served", func(ctx context.Context) error {
			if err := d.hub.Get(ctx, kube.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			if is := conditionOf(o, "Established"); o.GetKind() == "CustomResourceDefinition" && is.status != "True" {
				return fmt.Errorf("Established is %+v", is)
			}
			return nil
		})
	}
	command := exec.Command(program, append(args, "--kubeconfig="+d.kubeconfig, "--webhook-cert-dir="+dir,
		fmt.Sprintf("--webhook-port=%d", free[0]), fmt.Sprintf("--health-addr=127.0.0.1:%d", free[1]))...)
	command.Env = append(os.Environ(), "POD_IP=127.0.0.1", "POD_NAMESPACE=default")
	log := filepath.Join(dir, "log")
	d.Cleanup(func() {
		if said, err := os.ReadFile(log); d.Failed() {
			d.Logf("%s says (%v)\n%s", program, err, said[max(0, len(said)-4000):])
		}
	})
	programtest.Serve(d.T, command, log, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/readyz", free[1]))
	return brought
}

// served has webhooks be served at a URL wherever an object names a Service that does it.
func served(of any, url, ca string) {
	switch v := of.(type) {
	case map[string]any:
		for key, inner := range v {
			config, _ := inner.(map[string]any)
			if path, ok, _ := unstructured.NestedString(config, "service", "path"); ok && key == "clientConfig" {
				v[key] = map[string]any{"url": url + path, "caBundle": ca}
				continue
			}
			served(inner, url, ca)
		}
	case []any:
		for _, inner := range v {
			served(inner, url, ca)
		}
	}
}

// hubRuns has a hub there that is told to run both, and returns its folder of providers once it has said that they are somebody else's.
func (d *desk) hubRuns(config *rest.Config, capd string) (dir string) {
	d.Helper()
	dir = d.TempDir()
	dev := capi.FolderOf(dir, "dev")
	err := errors.Join(os.MkdirAll(string(dev), 0o700), os.Symlink(capd, dev.Program()), os.Symlink(capd+".yaml", dev.Components()))
	if err != nil {
		d.Fatal(err)
	}
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: d.hub.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: controllerconfig.Controller{SkipNameValidation: new(true), UsePriorityQueue: new(false)}, // as in hub
	})
	if err != nil {
		d.Fatal(err)
	}
	if err := capi.Setup(m, capi.Needs{Dir: dir, Programs: filepath.Dir(capd), Config: config, Log: slog.New(slog.DiscardHandler)}); err != nil {
		d.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(d.Context()))
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	d.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			d.Error(err)
		}
	})
	if err := d.hub.Create(d.Context(), &v1alpha1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "dev"}}); err != nil {
		d.Fatal(err)
	}
	for _, name := range []string{v1alpha1.CoreProvider, "dev"} {
		d.eventually("the hub leaves "+name+" to others", func(ctx context.Context) error {
			var p v1alpha1.Provider
			if err := d.hub.Get(ctx, kube.ObjectKey{Name: name}, &p); err != nil {
				return err
			}
			if ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); ready == nil || ready.Reason != v1alpha1.ReasonForeign || ready.Status != metav1.ConditionTrue {
				return fmt.Errorf("it says %+v", ready)
			}
			return nil
		})
	}
	return dir
}

// generations are which objects there are, and as what; a label is no part of a generation.
func (d *desk) generations(objects []*unstructured.Unstructured) (all []string) {
	d.Helper()
	for _, o := range objects {
		now := o.DeepCopy()
		if err := d.hub.Get(d.Context(), kube.ObjectKeyFromObject(o), now); err != nil {
			d.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s: %s, generation %d, of the hub's provider %q", o.GetKind(), o.GetName(), now.GetUID(), now.GetGeneration(), now.GetLabels()[v1alpha1.ProviderLabel]))
	}
	return all
}
