package cluster

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/internal/lifecycle/ending"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

// desk is where somebody sits: a hub's API with the kinds of Cluster API and of our provider, and the hub's policies. Nobody makes
// clusters there, and nobody ends them: who is at work on one is played by finalizers.
type desk struct {
	*testing.T
	hub        kube.WithWatch
	kubeconfig string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	d := sit(t, config)
	for _, files := range []fs.FS{deploy.Infrastructure, deploy.Policies} {
		err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			raw, err := fs.ReadFile(files, path)
			d.install(raw)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// sit has somebody sit before an API with the kinds of Cluster API alone.
func sit(t *testing.T, config *rest.Config) *desk {
	t.Helper()
	d := &desk{T: t, kubeconfig: kubetest.Kubeconfig(t, config)}
	hub, err := d.factory(output.Streams{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}).Connect()
	if err != nil {
		t.Fatal(err)
	}
	d.hub = hub.WithWatch
	binary, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	components, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(binary), "umbel-capi"), "components").Output()
	if err != nil {
		t.Fatalf("%v: `make capi` builds it", err)
	}
	d.install(components)
	return d
}

// install brings the kinds and policies of a file into the API, and returns when those kinds are served; what converts between versions is not there.
func (d *desk) install(file []byte) {
	d.Helper()
	objects, err := capi.Parse(file)
	if err != nil {
		d.Fatal(err)
	}
	var made []*unstructured.Unstructured
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" && !strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			continue
		}
		unstructured.RemoveNestedField(o.Object, "spec", "conversion")
		err := d.hub.Create(d.Context(), o)
		if err != nil && !apierrors.IsAlreadyExists(err) {
			d.Fatalf("installing %s: %v", o.GetName(), err)
		}
		if err == nil && o.GetKind() == "CustomResourceDefinition" {
			made = append(made, o)
		}
	}
	for _, crd := range made {
		of := schema.GroupVersionKind{Group: text(crd, "spec", "group"), Kind: text(crd, "spec", "names", "kind")}
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		for _, version := range versions {
			if v := version.(map[string]any); v["storage"] == true {
				of.Version = v["name"].(string)
			}
		}
		d.eventually(crd.GetName()+" is served", func(ctx context.Context) error {
			_, err := list(ctx, d.hub, of)
			return err
		})
	}
}

func (d *desk) factory(streams output.Streams) *client.Factory {
	f := client.New(streams)
	f.Kubeconfig, f.Namespace = d.kubeconfig, "default"
	return f
}

// umbel runs `umbel cluster` with some arguments and answers no question.
func (d *desk) umbel(args ...string) (out, errs string, err error) { return d.answering("", args...) }

// answering runs `umbel cluster` with what is typed.
func (d *desk) answering(typed string, args ...string) (string, string, error) {
	d.Helper()
	var out, errs bytes.Buffer
	err := d.run(d.Context(), output.Streams{In: strings.NewReader(typed), Out: &out, Err: &errs}, args...)
	return out.String(), errs.String(), err
}

func (d *desk) run(ctx context.Context, streams output.Streams, args ...string) error {
	d.Helper()
	f := d.factory(streams)
	cmd := NewCmd(f)
	f.AddFlags(cmd.PersistentFlags())
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(streams.Out)
	cmd.SetErr(streams.Err)
	return cmd.ExecuteContext(ctx)
}

// ear hears what a command says, and calls then when that has a part.
type ear struct {
	heard, part string
	then        func()
}

func (e *ear) Write(text []byte) (int, error) {
	e.heard += string(text)
	if strings.Contains(e.heard, e.part) {
		e.then()
	}
	return len(text), nil
}

// create makes an object, and has it gone after the test whatever holds it.
func (d *desk) create(o *unstructured.Unstructured) *unstructured.Unstructured {
	d.Helper()
	if err := d.hub.Create(d.Context(), o); err != nil {
		d.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	d.Cleanup(func() {
		ctx := context.WithoutCancel(d.Context())
		_ = d.hub.Patch(ctx, o, kube.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null,"annotations":null}}`)))
		_ = d.hub.Delete(ctx, o)
	})
	return o
}

func (d *desk) cluster(name string, annotations map[string]string) *unstructured.Unstructured {
	d.Helper()
	o := object("Cluster", "default", name, map[string]any{"spec": map[string]any{"topology": map[string]any{
		"classRef": map[string]any{"name": "local"}, "version": "v1.36.3",
		"workers": map[string]any{"machineDeployments": []any{map[string]any{"class": "worker", "name": "workers", "replicas": int64(1)}}},
	}}})
	o.SetAnnotations(annotations)
	return d.create(&o)
}

func (d *desk) eventually(what string, check func(context.Context) error) {
	d.Helper()
	var last error
	err := wait.PollUntilContextTimeout(d.Context(), 50*time.Millisecond, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil {
		d.Fatalf("%s: %v (last: %v)", what, err, last)
	}
}

func (d *desk) there(o *unstructured.Unstructured) bool {
	d.Helper()
	err := d.hub.Get(d.Context(), kube.ObjectKeyFromObject(o), o.DeepCopy())
	if err != nil && !apierrors.IsNotFound(err) {
		d.Fatal(err)
	}
	return err == nil
}

// TestAProtectedClusterIsNotDeleted by anybody, until the protection is taken away.
func TestAProtectedClusterIsNotDeleted(t *testing.T) {
	d := newDesk(t)
	kept, other := d.cluster("kept", nil), d.cluster("other", map[string]string{v1alpha1.ProtectedAnnotation: "false"})
	if out, _, err := d.umbel("protect", "kept"); err != nil || !strings.Contains(out, "is protected") {
		t.Fatalf("protect: %q, %v", out, err)
	}
	const next = "`umbel cluster unprotect kept -n default`"
	d.eventually("the policy holds", func(ctx context.Context) error { // an API server takes a moment to learn of one
		err := d.hub.Delete(ctx, kept, kube.DryRunAll)
		if err == nil || !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), next) {
			return errors.Join(errors.New("it does not"), err)
		}
		return nil
	})
	if err := d.hub.Delete(t.Context(), kept); err == nil || !strings.Contains(err.Error(), next) {
		t.Errorf("as kubectl deletes: got %v", err)
	}
	every := object("Cluster", "default", "", map[string]any{})
	if err := d.hub.DeleteAllOf(t.Context(), &every, kube.InNamespace("default")); err == nil || !strings.Contains(err.Error(), next) {
		t.Errorf("all of them: got %v", err)
	}
	if _, _, err := d.umbel("delete", "kept", "--yes"); err == nil || !strings.Contains(err.Error(), next) {
		t.Errorf("as umbel deletes: got %v", err)
	}
	if !d.there(kept) {
		t.Error("it is gone")
	}
	if err := d.hub.Delete(t.Context(), other); kube.IgnoreNotFound(err) != nil {
		t.Errorf("one that says it is not protected: got %v", err)
	}
	// What is not its end is no business of the protection.
	if err := d.hub.Patch(t.Context(), kept, kube.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"env":"dev"}}}`))); err != nil {
		t.Error(err)
	}
	if _, _, err := d.umbel("unprotect", "kept"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.umbel("delete", "kept", "--yes"); err != nil || d.there(kept) {
		t.Errorf("unprotected: got %v", err)
	}
}

// part makes an object of a cluster, that a finalizer holds.
func (d *desk) part(o unstructured.Unstructured, owner *unstructured.Unstructured) *unstructured.Unstructured {
	d.Helper()
	o.SetLabels(map[string]string{"cluster.x-k8s.io/cluster-name": "lost"})
	o.SetFinalizers([]string{"gone.example.com/provider"})
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID()}})
	return d.create(&o)
}

// TestWhatDiesIsShownAndAskedAbout before anything does.
func TestWhatDiesIsShownAndAskedAbout(t *testing.T) {
	d := newDesk(t)
	cluster := d.cluster("asked", nil)
	machine := object("Machine", "default", "asked-a", map[string]any{"spec": map[string]any{
		"clusterName": "asked", "bootstrap": map[string]any{"dataSecretName": "x"}, "infrastructureRef": map[string]any{"apiGroup": "infrastructure.umbel.dev", "kind": "LocalMachine", "name": "asked-a"},
	}})
	machine.SetLabels(map[string]string{"cluster.x-k8s.io/cluster-name": "asked"})
	d.create(&machine)
	for _, typed := range []string{"", "no\n", "y\n"} {
		out, errs, err := d.answering(typed, "delete", "asked")
		if err == nil || !strings.Contains(err.Error(), "nothing was deleted: --yes answers for you") || out != "" || !d.there(cluster) {
			t.Errorf("to an answer %q: %q, %v", typed, out, err)
		}
		for _, part := range []string{"default/asked ends for good", "machines        asked-a\n", "unknown: it is no member of the fleet"} {
			if !strings.Contains(errs, part) {
				t.Errorf("%q is not in what is shown:\n%s", part, errs)
			}
		}
	}
	if _, _, err := d.answering("yes\n", "delete", "asked"); err != nil || d.there(cluster) {
		t.Errorf("a yes: got %v", err)
	}
}

// TestADeletionThatCannotEnd says what blocks; it is ended by force, and what may be left is on a list before that.
func TestADeletionThatCannotEnd(t *testing.T) {
	d := newDesk(t)
	cluster := object("Cluster", "default", "lost", map[string]any{"spec": map[string]any{"paused": true, "controlPlaneEndpoint": map[string]any{"host": "192.0.2.1", "port": int64(6443)}}})
	cluster.SetFinalizers([]string{"cluster.cluster.x-k8s.io"})
	d.create(&cluster)
	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "lost", Annotations: map[string]string{v1alpha1.ManagedAnnotation: "default/lost"}}}
	if err := d.hub.Create(t.Context(), member); err != nil {
		t.Fatal(err)
	}
	machine := d.part(object("Machine", "default", "lost-a", map[string]any{"spec": map[string]any{
		"clusterName": "lost", "bootstrap": map[string]any{"dataSecretName": "x"}, "infrastructureRef": map[string]any{"apiGroup": "infrastructure.umbel.dev", "kind": "LocalMachine", "name": "lost-a"},
	}}), &cluster)
	local := unstructured.Unstructured{Object: map[string]any{"apiVersion": "infrastructure.umbel.dev/v1alpha1", "kind": "LocalMachine", "spec": map[string]any{"providerID": "umbel://lost/lost-a"}}}
	local.SetNamespace("default")
	local.SetName("lost-a")
	d.part(local, machine)
	report := filepath.Join(t.TempDir(), "orphans.yaml")
	if _, _, err := d.umbel("delete", "lost", "--force-detach", "--yes", "--orphan-report", report); err == nil || !strings.Contains(err.Error(), "is not being deleted") {
		t.Errorf("force before order: got %v", err)
	}
	// Cluster API deletes what a Cluster is made of; nobody does here.
	for _, o := range []*unstructured.Unstructured{machine, d.get("LocalMachine", "lost-a")} {
		if err := d.hub.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	const blocked = "blocked by finalizer gone.example.com/provider of LocalMachine lost-a since "
	ctx, stop := context.WithCancel(t.Context())
	errs := &ear{part: blocked, then: stop}
	err := d.run(ctx, output.Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: errs}, "delete", "lost", "--yes", "--timeout", "1m")
	if err == nil || !strings.Contains(err.Error(), "--force-detach") || !errors.Is(err, context.Canceled) {
		t.Errorf("a deletion that is blocked: got %v", err)
	}
	if !strings.Contains(errs.heard, blocked) || strings.Contains(errs.heard, "of Machine lost-a") || strings.Contains(errs.heard, "of Cluster lost") {
		t.Errorf("the lowest blocks, and it alone:\n%s", errs.heard)
	}

	if _, _, err := d.umbel("delete", "lost", "--force-detach", "--orphan-report", report); err == nil || !strings.Contains(err.Error(), "nothing was let go") {
		t.Errorf("without a yes: got %v", err)
	}
	if _, _, err := d.umbel("delete", "lost", "--force-detach", "--yes", "--orphan-report", filepath.Join(report, "no-folder")); err == nil || !strings.Contains(err.Error(), "nothing was let go") {
		t.Errorf("without a report: got %v", err)
	}
	if !d.there(&cluster) || !d.there(machine) {
		t.Fatal("something went without a report")
	}
	out, _, err := d.umbel("delete", "lost", "--force-detach", "--yes", "--orphan-report", report)
	if err != nil || !strings.Contains(out, report) {
		t.Fatalf("by force: %q, %v", out, err)
	}
	d.lists(report, cluster.GetUID())
	if d.there(&cluster) || d.there(machine) || d.there(d.get("LocalMachine", "")) {
		t.Error("something of it is there")
	}
	if err := d.hub.Get(t.Context(), kube.ObjectKeyFromObject(member), member); !apierrors.IsNotFound(err) && member.DeletionTimestamp == nil {
		t.Errorf("the fleet has it still (%v)", err)
	}
}

// get returns an object of our provider's by which it can be read.
func (d *desk) get(kindName, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion("infrastructure.umbel.dev/v1alpha1")
	o.SetKind(kindName)
	o.SetNamespace("default")
	o.SetName(cmp.Or(name, "lost-a"))
	return o
}

// lists looks for what may be left of the cluster lost in all places where that is written.
func (d *desk) lists(file string, uid types.UID) {
	d.Helper()
	own, err := os.ReadFile(file)
	if err != nil {
		d.Fatal(err)
	}
	kept := &corev1.ConfigMap{}
	if err := d.hub.Get(d.Context(), kube.ObjectKey{Namespace: "default", Name: "lost-orphans"}, kept); err != nil {
		d.Fatal(err)
	}
	if kept.Data[string(uid)+".yaml"] != string(own) || kept.Labels[v1alpha1.OrphansLabel] != "lost" {
		d.Errorf("the hub's report is %v\n%s\nand the file\n%s", kept.Labels, kept.Data, own)
	}
	report, err := ending.Decode(own)
	if err != nil || report.Ended == nil {
		d.Fatalf("it has not ended, or cannot be read: %v\n%s", err, own)
	}
	var names []string
	for _, o := range report.Orphans {
		names = append(names, o.Kind+" "+o.Name)
		if o.Name == "lost-a" && strings.HasPrefix(o.Kind, "LocalMachine") && o.IDs["spec.providerID"] != "umbel://lost/lost-a" {
			d.Errorf("it is not known by its provider's name: %+v", o)
		}
		if strings.HasPrefix(o.Kind, "Cluster.") && o.IDs["spec.controlPlaneEndpoint.host"] != "192.0.2.1" {
			d.Errorf("where its API was is not said: %+v", o)
		}
	}
	if got, want := strings.Join(names, ", "), "Cluster.cluster.x-k8s.io lost, LocalMachine.infrastructure.umbel.dev lost-a, Machine.cluster.x-k8s.io lost-a"; got != want {
		d.Errorf("the report has %s, want %s", got, want)
	}
	events := &corev1.EventList{}
	if err := d.hub.List(d.Context(), events, kube.InNamespace("default")); err != nil {
		d.Fatal(err)
	}
	told := 0
	for _, e := range events.Items {
		if e.Reason == "Detached" && strings.Contains(e.Message, "lost-orphans") {
			told++
		}
	}
	if told != 3 {
		d.Errorf("%d events tell of it, want 3", told)
	}
}

func TestTheStakes(t *testing.T) {
	volume := corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pv-1"}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("8Gi")}, ClaimRef: &corev1.ObjectReference{Namespace: "shop", Name: "db"},
		PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain, PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{VolumeHandle: "vol-1"}},
	}}
	service := corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}}}}}
	s := stakes{
		machines: []unstructured.Unstructured{object("Machine", "default", "dev-a", map[string]any{})},
		member:   &v1alpha1.MemberCluster{Status: v1alpha1.MemberClusterStatus{Packages: []v1alpha1.MemberPackage{{Package: "shop/web"}}}},
		inside:   inside{nodes: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "dev-a"}}}, volumes: []corev1.PersistentVolume{volume}, services: []corev1.Service{service}},
	}
	const want = `  machines        dev-a
  packages        shop/web
  nodes           dev-a
  volumes         pv-1 (8Gi of claim shop/db, Retain, vol-1)
  load balancers  shop/web at 192.0.2.7
`
	if diff := gocmp.Diff(want, s.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := strings.Join(s.costs(), "; "); got != "volume pv-1 (8Gi of claim shop/db, Retain, vol-1); load balancer shop/web at 192.0.2.7" {
		t.Errorf("what may cost is %s", got)
	}
	s.unknown = errors.New("it is not connected")
	if text := s.String(); !strings.Contains(text, "unknown: it is not connected") || strings.Contains(text, "none") {
		t.Errorf("what is not known is not nothing:\n%s", text)
	}
	if got := strings.Join(s.costs(), "; "); got != "unknown: it is not connected" {
		t.Errorf("what may cost is %s", got)
	}
}
