package adopt

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

var (
	kustomizations = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	repositories   = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}
)

// inventory is what the controller writes into the status of a Kustomization.
func (w *world) inventory(t *testing.T, namespace string) map[string]any {
	t.Helper()
	var entries []any
	for _, o := range w.all(t, namespace) {
		if o.GetLabels()["kustomize.toolkit.fluxcd.io/name"] != "" {
			gvk := o.GroupVersionKind()
			entries = append(entries, map[string]any{"id": fmt.Sprintf("%s_%s_%s_%s", o.GetNamespace(), o.GetName(), gvk.Group, gvk.Kind), "v": gvk.Version})
		}
	}
	return map[string]any{"inventory": map[string]any{"entries": entries}}
}

// byFlux has Flux apply so many objects, from the folder apps of a repository, by a Kustomization of a name.
func (w *world) byFlux(t *testing.T, ns, name string, n int) *sourcetest.Repository {
	t.Helper()
	w.kind(t, fluxKustomizations)
	w.kind(t, fluxRepositories)
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, n)))
	if changed := w.engine(t, "fluxssa", "flux-system", name, repo.Dir+"/apps"); changed != n {
		t.Fatalf("Flux's engine changed %d objects", changed)
	}
	w.create(t, repositories, object(t, fmt.Sprintf(`{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {name: %s, namespace: flux-system},
		spec: {url: %q, interval: 1m, ref: {branch: main}}}`, name, repo.Serve(nil))))
	kustomization := object(t, fmt.Sprintf(`{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: %[1]s, namespace: flux-system, finalizers: [finalizers.fluxcd.io]},
		spec: {interval: 10m, path: ./apps, prune: true, wait: true, sourceRef: {kind: GitRepository, name: %[1]s}}}`, name))
	kustomization.Object["status"] = w.inventory(t, ns)
	w.create(t, kustomizations, kustomization)
	return repo
}

// TestFlux moves in with what Flux's own engine applied, lives there, and moves out again. In place of the controller around the engine
// the test writes the Kustomization's status, and lets the engine run when it is not suspended.
func TestFlux(t *testing.T) {
	w := start(t)
	const ns = "by-flux"
	repo := w.byFlux(t, ns, "apps", many)
	w.patch(t, kustomizations, "flux-system", "apps", "{spec: {postBuild: {substitute: {a: b}}, namePrefix: x-}}")
	before, managers, writes := w.states(t, ns), w.managers(t, ns), w.writes(t)
	args := []string{"adopt", "kustomization", "apps", "-n", "flux-system", "--cluster", cluster}

	refused := w.umbel(t.Context(), append(args, "--yes")...)
	for _, want := range []string{"  spec.postBuild\n", "  spec.namePrefix: what is said there belongs into the repository", "  namePrefix: x-\n", "nothing was changed: 2 things that Umbel has no word for"} {
		if refused.Code != 1 || !strings.Contains(refused.Err, want) {
			t.Errorf("%q is not in (code %d):\n%.3000s", want, refused.Code, refused.Err)
		}
	}
	w.wrote(t, writes, map[string]int{})
	w.patch(t, kustomizations, "flux-system", "apps", "{spec: {postBuild: null, namePrefix: null}}")

	w.does(t, append(args, "--yes")...)
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"APPLY": many, "PATCH": many})
	if w.field(t, kustomizations, "flux-system", "apps", "spec", "suspend") != true {
		t.Error("the Kustomization is not suspended")
	}
	if now := w.managers(t, ns); now["kustomize-controller Apply"] != 0 || now["umbel-agent Apply"] != many {
		t.Errorf("managers: %v", now)
	}

	// It is Umbel's now: what leaves the source leaves the cluster, be it a field or an object.
	changed := objects(ns, many-1)
	changed["kind-0.yaml"] = strings.Replace(changed["kind-0.yaml"], "number: \"0\", ", "", 1)
	repo.Commit(under("apps", changed))
	w.does(t, "refresh", "package", "apps")
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	last := fmt.Sprintf("o-%d", many-2)
	for what, check := range map[string]func() error{
		"a field goes": func() error {
			if data := w.field(t, configMaps, ns, "o-0", "data").(map[string]any); data["number"] != nil {
				return fmt.Errorf("it is %v", data)
			}
			return nil
		},
		"an object goes": func() error {
			_, err := w.dynamic.Resource(resources[(many-2)%6]).Namespace(ns).Get(t.Context(), last, metav1.GetOptions{})
			if !apierrors.IsNotFound(err) {
				return fmt.Errorf("it is there, %v", err)
			}
			return nil
		},
	} {
		if err := until(what, check); err != nil {
			t.Fatal(err)
		}
	}

	before, writes = w.states(t, ns), w.writes(t)
	w.does(t, "adopt", "back", "apps", "--cluster", cluster, "--yes")
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"PATCH": 2 * (many - 1)})
	if w.field(t, kustomizations, "flux-system", "apps", "spec", "suspend") != false {
		t.Error("the Kustomization is still suspended")
	}
	if now := w.managers(t, ns); now["kustomize-controller Apply"] != managers["kustomize-controller Apply"]-1 || now["umbel-agent Apply"] != 0 {
		t.Errorf("managers were %v, are %v", managers, now)
	}
	writes = w.writes(t)
	if changed := w.engine(t, "fluxssa", "flux-system", "apps", repo.Dir+"/apps"); changed != 0 {
		t.Errorf("Flux's engine finds %d objects that are not as it would have them", changed)
	}
	w.wrote(t, writes, map[string]int{})
	w.theSame(t, ns, before)
}
