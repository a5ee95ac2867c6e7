package cluster

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/lifecycle/capi"
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
	d := &desk{T: t, kubeconfig: kubetest.Kubeconfig(t, config)}
	hub, err := d.factory(&bytes.Buffer{}, &bytes.Buffer{}).Connect()
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
	d.eventually("the kinds are served", func(ctx context.Context) error {
		_, err := list(ctx, d.hub, kind("Cluster"))
		return err
	})
	return d
}

// install brings the kinds and policies of a file into the API; what converts between versions is not there.
func (d *desk) install(file []byte) {
	d.Helper()
	objects, err := capi.Parse(file)
	if err != nil {
		d.Fatal(err)
	}
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" && !strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			continue
		}
		unstructured.RemoveNestedField(o.Object, "spec", "conversion")
		if err := d.hub.Create(d.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
			d.Fatalf("installing %s: %v", o.GetName(), err)
		}
	}
}

func (d *desk) factory(out, errs *bytes.Buffer) *client.Factory {
	f := client.New(output.Streams{In: strings.NewReader(""), Out: out, Err: errs})
	f.Kubeconfig, f.Namespace = d.kubeconfig, "default"
	return f
}

// umbel runs `umbel cluster` with some arguments and answers no question.
func (d *desk) umbel(args ...string) (out, errs string, err error) { return d.answering("", args...) }

// answering runs `umbel cluster` with what is typed.
func (d *desk) answering(typed string, args ...string) (string, string, error) {
	d.Helper()
	var out, errs bytes.Buffer
	f := d.factory(&out, &errs)
	f.In = strings.NewReader(typed)
	cmd := NewCmd(f)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err := cmd.ExecuteContext(d.Context())
	return out.String(), errs.String(), err
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
	err := wait.PollUntilContextTimeout(d.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
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
