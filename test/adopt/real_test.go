package adopt

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

const data = "../data"

// TestWhatNobodyHereWrote moves in with manifests of test/data, each by the tool that it was written for, and out again.
func TestWhatNobodyHereWrote(t *testing.T) {
	w := start(t)
	w.kind(t, fluxKustomizations)
	w.kind(t, fluxRepositories)
	w.kind(t, argoApplications)
	w.define(t, likeness(rootSyncs, "RootSync"))
	w.define(t, likeness(resourceGroups, "ResourceGroup"))
	for _, c := range []struct {
		name, root, folder string
		kustomize          bool
		by                 func(r *real)
	}{
		{"boutique", "online-boutique", "kustomize-in-boutique", true, (*real).byFlux},
		{"sock-shop", "argocd-examples", "sock-shop", true, (*real).byArgoCD},
		{"guestbook", "argocd-examples", "guestbook", false, (*real).byArgoCD},
		{"environments", "config-sync-samples", "multi-environments-kustomize/config-source/overlays/prod", true, (*real).byConfigSync},
		{"fleet-packages", "config-sync-samples", "fleet-packages-quickstart/config", false, (*real).byConfigSync},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.real(t, c.name, c.root, c.folder)
			r.repo.Change(map[string]string{"kustomize-in-boutique/kustomization.yaml": overlay})
			r.renders(c.kustomize)
			c.by(r)
		})
	}
}

// overlay is what `umbel adopt` prints of a Kustomization of Flux that says into which namespace objects go.
const overlay = "namespace: boutique\nresources:\n- ../kustomize\n"

// real is a folder of test/data in a repository of its own.
type real struct {
	*world
	t            *testing.T
	name, folder string
	repo         *sourcetest.Repository
	manifests    string // a folder with all of it as one file, as it is applied
}

func (w *world) real(t *testing.T, name, root, folder string) *real {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(filepath.Join(data, root)), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(data, root, name))
		files[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	repo := sourcetest.New(t)
	repo.Commit(files)
	return &real{world: w, t: t, name: name, folder: folder, repo: repo, manifests: t.TempDir()}
}

// renders makes the manifests, by kubectl where there is a kustomization, and the namespaces that they need and do not bring.
func (r *real) renders(kustomize bool) {
	r.t.Helper()
	text := ""
	if kustomize {
		text = r.kubectl(r.t, "kustomize", filepath.Join(r.repo.Dir, r.folder))
	} else {
		err := filepath.WalkDir(filepath.Join(r.repo.Dir, r.folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			raw, err := os.ReadFile(path)
			text += "---\n" + string(raw) + "\n"
			return err
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.manifests, "all.yaml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	namespaces := r.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	for line := range strings.Lines(text) {
		name, is := strings.CutPrefix(strings.TrimSpace(line), "namespace: ")
		if !is || strings.Contains(text, "kind: Namespace\nmetadata:\n  name: "+name) {
			continue
		}
		ns := object(r.t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+name+"}")
		if _, err := namespaces.Create(r.t.Context(), ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			r.t.Fatal(err)
		}
	}
}

// items are the objects of the manifests, as they are on the member.
func (r *real) items() (items []unstructured.Unstructured) {
	r.t.Helper()
	var list struct{ Items []map[string]any }
	if err := json.Unmarshal([]byte(r.kubectl(r.t, "get", "-f", r.manifests, "-o", "json")), &list); err != nil {
		r.t.Fatal(err)
	}
	for _, item := range list.Items {
		items = append(items, unstructured.Unstructured{Object: item})
	}
	if len(items) == 0 {
		r.t.Fatal("there is nothing")
	}
	return items
}

// as are the states of the objects.
func (r *real) as() map[string]state {
	r.t.Helper()
	states := map[string]state{}
	for _, o := range r.items() {
		s := state{UID: string(o.GetUID()), Generation: o.GetGeneration()}
		delete(o.Object, "status")
		at := fmt.Sprint(o.GroupVersionKind(), o.GetNamespace(), "/", o.GetName())
		delete(o.Object, "metadata")
		raw, err := json.Marshal(o.Object)
		if err != nil {
			r.t.Fatal(err)
		}
		s.Spec = string(raw)
		states[at] = s
	}
	return states
}

// moves moves in and out, and checks that the objects are the same ones on the way, and Umbel's meanwhile.
func (r *real) moves(args ...string) {
	r.t.Helper()
	before := r.as()
	same := func(when string) {
		r.t.Helper()
		if diff := cmp.Diff(before, r.as()); diff != "" {
			r.t.Fatalf("%s (-before +now):\n%.3000s", when, diff)
		}
	}
	r.does(r.t, append(args, "--cluster", cluster, "--yes")...)
	same("after moving in")
	for _, o := range r.items() {
		if o.GetLabels()["umbel.dev/package"] != "default."+r.name || o.GetLabels()["umbel.dev/adopted-from"] == "" {
			r.t.Errorf("%s %s has labels %v", o.GetKind(), o.GetName(), o.GetLabels())
		}
	}
	r.does(r.t, "adopt", "back", r.name, "--cluster", cluster, "--yes")
	same("after moving out")
	r.t.Logf("%d objects", len(before))
	r.kubectl(r.t, "delete", "-f", r.manifests, "--wait=false")
}

// byFlux has a Kustomization put the objects into a namespace, which the repository then says itself.
func (r *real) byFlux() {
	r.engine(r.t, "fluxssa", "flux-system", r.name, r.manifests)
	r.create(r.t, repositories, object(r.t, fmt.Sprintf(`{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: %s, namespace: flux-system},
		spec: {url: %q, interval: 1m, ref: {branch: main}}}`, r.name, r.repo.Serve(nil))))
	k := object(r.t, fmt.Sprintf(`{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: %[1]s, namespace: flux-system},
		spec: {interval: 10m, path: ./kustomize, targetNamespace: boutique, prune: true, sourceRef: {kind: GitRepository, name: %[1]s}}}`, r.name))
	var entries []any
	for _, o := range r.items() {
		gvk := o.GroupVersionKind()
		entries = append(entries, map[string]any{"id": fmt.Sprintf("%s_%s_%s_%s", o.GetNamespace(), o.GetName(), gvk.Group, gvk.Kind), "v": gvk.Version})
	}
	k.Object["status"] = map[string]any{"inventory": map[string]any{"entries": entries}}
	r.create(r.t, kustomizations, k)
	refused := r.umbel(r.t.Context(), "adopt", "kustomization", r.name, "--cluster", cluster, "--yes")
	if said := strings.ReplaceAll(refused.Err, "\n  ", "\n"); refused.Code != 1 || !strings.Contains(said, overlay) {
		r.t.Errorf("it does not say which kustomization is to be made (code %d):\n%s", refused.Code, refused.Err)
	}
	r.moves("adopt", "kustomization", r.name, "--path", r.folder)
}

func (r *real) byArgoCD() {
	r.engine(r.t, "gitopsengine", "default", r.name, r.manifests)
	application := object(r.t, fmt.Sprintf(`{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: %s, namespace: argocd},
		spec: {project: default, destination: {server: "https://kubernetes.default.svc", namespace: default}, source: {repoURL: %q, path: %s, targetRevision: main},
		syncPolicy: {automated: {}}}}`, r.name, r.repo.Serve(nil), r.folder))
	application.Object["status"] = map[string]any{"resources": entriesOf(r.items(), "")}
	r.create(r.t, applications, application)
	r.moves("adopt", "application", r.name)
}

func (r *real) byConfigSync() {
	r.kubectl(r.t, "apply", "--server-side", "--field-manager=configsync", "-f", r.manifests)
	const at = "config-management-system"
	r.create(r.t, rootSyncs, object(r.t, fmt.Sprintf(`{apiVersion: configsync.gke.io/v1beta1, kind: RootSync, metadata: {name: %s, namespace: %s},
		spec: {sourceFormat: unstructured, git: {repo: %q, branch: main, dir: %s, auth: none}}}`, r.name, at, r.repo.Serve(nil), r.folder)))
	group := object(r.t, fmt.Sprintf("{apiVersion: kpt.dev/v1alpha1, kind: ResourceGroup, metadata: {name: %s, namespace: %s}}", r.name, at))
	group.Object["spec"] = map[string]any{"resources": entriesOf(r.items(), "")}
	r.create(r.t, resourceGroups, group)
	r.moves("adopt", "rootsync", r.name)
}
