package adopt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

var applications = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}

// synced is what the controller writes into the status of an Application.
func (w *world) synced(t *testing.T, namespace, name string) map[string]any {
	t.Helper()
	var found []any
	for _, o := range w.all(t, namespace) {
		if strings.HasPrefix(o.GetAnnotations()["argocd.argoproj.io/tracking-id"], name+":") {
			gvk := o.GroupVersionKind()
			found = append(found, map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind, "namespace": o.GetNamespace(), "name": o.GetName(), "status": "Synced"})
		}
	}
	return map[string]any{"resources": found}
}

const finalizer = "resources-finalizer.argocd.argoproj.io"

// byArgoCD has Argo CD apply so many objects, from the folder apps of a repository, by an Application of a name.
func (w *world) byArgoCD(t *testing.T, ns, name string, n int) *sourcetest.Repository {
	t.Helper()
	w.kind(t, argoApplications)
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, n)))
	if changed := w.engine(t, "gitopsengine", "argocd", name, repo.Dir+"/apps"); changed != n {
		t.Fatalf("Argo CD's engine changed %d objects", changed)
	}
	application := object(t, fmt.Sprintf(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: %s, namespace: argocd, finalizers: [%s]},
		spec: {project: default, destination: {server: "https://kubernetes.default.svc", namespace: default}, source: {repoURL: %q, path: apps, targetRevision: main, directory: {recurse: true}},
		syncPolicy: {automated: {prune: true, selfHeal: true}, syncOptions: [ApplyOutOfSyncOnly=true]}}}`, name, finalizer, repo.Serve(nil)))
	application.Object["status"] = w.synced(t, ns, name)
	w.create(t, applications, application)
	return repo
}

// TestArgoCD moves in with what Argo CD's own engine applied, and out again. In place of the controller around the engine the test writes
// the Application's status, and lets the engine run when it syncs by itself.
func TestArgoCD(t *testing.T) {
	w := start(t)
	const ns = "by-argocd"
	repo := w.byArgoCD(t, ns, "shop-argo", many)
	w.patch(t, applications, "argocd", "shop-argo", `{spec: {source: {directory: {include: "*.yaml"}}}}`)
	before, managers, writes := w.states(t, ns), w.managers(t, ns), w.writes(t)
	args := []string{"adopt", "application", "shop-argo", "-n", "argocd", "--cluster", cluster}

	refused := w.umbel(t.Context(), append(args, "--yes")...)
	if want := "  spec.source.directory.include\n"; refused.Code != 1 || !strings.Contains(refused.Err, want) {
		t.Errorf("%q is not in (code %d):\n%.3000s", want, refused.Code, refused.Err)
	}
	w.patch(t, applications, "argocd", "shop-argo", "{spec: {source: {directory: {include: null}}}}")

	w.does(t, append(args, "--yes")...)
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"APPLY": many, "PATCH": many})
	if now := w.managers(t, ns); now["argocd-controller Update"]+now["argocd-controller Apply"] != 0 || now["umbel-agent Apply"] != many {
		t.Errorf("managers were %v, are %v", managers, now)
	}
	if w.field(t, applications, "argocd", "shop-argo", "spec", "syncPolicy", "automated") != nil || w.field(t, applications, "argocd", "shop-argo", "metadata", "finalizers") != nil {
		t.Error("the Application still syncs by itself, or would delete its objects")
	}

	writes = w.writes(t)
	w.does(t, "adopt", "back", "shop-argo", "--cluster", cluster, "--yes")
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"PATCH": 2 * many})
	if diff := cmp.Diff(managers, w.managers(t, ns)); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
	want := map[string]any{"prune": true, "selfHeal": true}
	if diff := cmp.Diff(any(want), w.field(t, applications, "argocd", "shop-argo", "spec", "syncPolicy", "automated")); diff != "" {
		t.Errorf("how it syncs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(any([]any{finalizer}), w.field(t, applications, "argocd", "shop-argo", "metadata", "finalizers")); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	writes = w.writes(t)
	if changed := w.engine(t, "gitopsengine", "argocd", "shop-argo", repo.Dir+"/apps"); changed != 0 {
		t.Errorf("Argo CD's engine finds %d objects that are not as it would have them", changed)
	}
	w.wrote(t, writes, map[string]int{})
	w.theSame(t, ns, before)
}
