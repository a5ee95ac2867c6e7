package adopt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
	"umbel.dev/umbel/internal/kube/kubetest"
)

var (
	gitRepos          = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "gitrepos"}
	bundles           = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "bundles"}
	bundleDeployments = schema.GroupVersionResource{Group: "fleet.cattle.io", Version: "v1alpha1", Resource: "bundledeployments"}
)

// byFleet has a GitRepo of a name manage so many objects, from the folder apps of a repository.
func (w *world) byFleet(t *testing.T, ns, name string, n int) {
	t.Helper()
	w.define(t, likeness(gitRepos, "GitRepo"))
	w.define(t, likeness(bundles, "Bundle"))
	w.define(t, likeness(bundleDeployments, "BundleDeployment"))
	const at, in = "fleet-default", "cluster-fleet-default-prod-eu"
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, n)))
	w.byFleetAgent(t, name+"-apps", under("templates", objects(ns, n)))
	w.create(t, gitRepos, object(t, fmt.Sprintf(`{apiVersion: fleet.cattle.io/v1alpha1, kind: GitRepo, metadata: {name: %s, namespace: %s},
		spec: {repo: %q, branch: main, paths: [apps], correctDrift: {enabled: true}, targets: [{clusterSelector: {}}]}}`, name, at, repo.Serve(nil))))
	w.create(t, bundles, object(t, fmt.Sprintf(`{apiVersion: fleet.cattle.io/v1alpha1, kind: Bundle, metadata: {name: %[1]s-apps, namespace: %[2]s, labels: {fleet.cattle.io/repo-name: %[1]s}}, spec: {}}`, name, at)))
	deployment := object(t, fmt.Sprintf(`{apiVersion: fleet.cattle.io/v1alpha1, kind: BundleDeployment, metadata: {name: %[1]s-apps, namespace: %[2]s,
		labels: {fleet.cattle.io/repo-name: %[1]s, fleet.cattle.io/bundle-name: %[1]s-apps, fleet.cattle.io/bundle-namespace: %[3]s}}}`, name, in, at))
	deployment.Object["status"] = map[string]any{"resources": entriesOf(w.all(t, ns), "apiVersion")}
	w.create(t, bundleDeployments, deployment)
	meanwhile(t, func(ctx context.Context) error {
		g, err := w.dynamic.Resource(gitRepos).Namespace(at).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		b, err := w.dynamic.Resource(bundles).Namespace(at).Get(ctx, name+"-apps", metav1.GetOptions{})
		if err != nil {
			return err
		}
		paused := g.Object["spec"].(map[string]any)["paused"]
		if spec := b.Object["spec"].(map[string]any); spec["paused"] != paused {
			spec["paused"] = paused
			_, err = w.dynamic.Resource(bundles).Namespace(at).Update(ctx, b, metav1.UpdateOptions{})
		}
		return err
	})
}

// byFleetAgent has manifests applied as Fleet's agent applies a bundle: it makes a chart of them, and Helm's own engine installs that, on
// the client's side. The engine writes under the name of its program, which is the agent's here.
func (w *world) byFleetAgent(t *testing.T, release string, files map[string]string) {
	t.Helper()
	kube, err := kubetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	program, chart := filepath.Join(t.TempDir(), "fleetagent"), t.TempDir()
	if err := os.Symlink(filepath.Join(filepath.Dir(kube), "helm"), program); err != nil {
		t.Fatal(err)
	}
	files = maps.Clone(files)
	files["Chart.yaml"] = "apiVersion: v2\nname: bundle\nversion: v0.0.0+s-1a2b3c\n"
	for name, text := range files {
		path := filepath.Join(chart, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), program, "upgrade", release, chart, "--install", "--server-side=false", "--qps=-1", "--namespace", "default", "--kubeconfig", w.direct)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+chart, "HELM_CONFIG_HOME="+chart, "HELM_DATA_HOME="+chart)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s (`make helm` builds it): %v\n%s", program, err, out)
	}
}

// TestFleet moves in with what a GitRepo manages, and out again. What applies is real: Helm's engine, by which Fleet's agent does it.
// What is not: Fleet is no Go module that can be had here, so that its kinds take anything, and the test plays its manager, which pauses
// the bundles of a GitRepo that is paused.
func TestFleet(t *testing.T) {
	w := start(t)
	const ns, at, in = "by-fleet", "fleet-default", "cluster-fleet-default-prod-eu"
	w.byFleet(t, ns, "shop-fleet", many)
	w.patch(t, gitRepos, at, "shop-fleet", "{spec: {paths: [apps, more]}}")
	other := object(t, fmt.Sprintf(`{apiVersion: fleet.cattle.io/v1alpha1, kind: BundleDeployment, metadata: {name: shop-fleet-apps, namespace: %s-2,
		labels: {fleet.cattle.io/repo-name: shop-fleet, fleet.cattle.io/bundle-namespace: %s}}, status: {resources: [{kind: ConfigMap, apiVersion: v1, namespace: x, name: elsewhere}]}}`, in, at))
	w.create(t, bundleDeployments, other)
	before, managers, writes := w.states(t, ns), w.managers(t, ns), w.writes(t)
	args := []string{"adopt", "gitrepo", "shop-fleet", "--cluster", cluster, "--control", cluster}
	for want, args := range map[string][]string{
		"it has several clusters: name the one with --fleet-cluster, by its namespace: " + in + ", " + in + "-2": args,
		"  spec.paths: apps, more; a Package is one folder":                                                      append(args[:len(args):len(args)], "--fleet-cluster", in),
	} {
		if refused := w.umbel(t.Context(), append(args, "--yes")...); refused.Code != 1 || !strings.Contains(refused.Err, want) {
			t.Errorf("%q is not in (code %d):\n%.3000s", want, refused.Code, refused.Err)
		}
	}
	args = append(args, "--fleet-cluster", in, "--path", "apps")

	w.does(t, append(args, "--yes")...)
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"APPLY": many, "PATCH": many})
	want := map[string]any{"paused": true, "keepResources": true, "enabled": false}
	if diff := cmp.Diff(want, map[string]any{
		"paused": w.field(t, gitRepos, at, "shop-fleet", "spec", "paused"), "keepResources": w.field(t, gitRepos, at, "shop-fleet", "spec", "keepResources"),
		"enabled": w.field(t, gitRepos, at, "shop-fleet", "spec", "correctDrift", "enabled"),
	}); diff != "" {
		t.Errorf("the GitRepo (-want +got):\n%s", diff)
	}
	if now := w.managers(t, ns); now["fleetagent Update"] != 0 || now["umbel-agent Apply"] != many {
		t.Errorf("managers: %v", now)
	}

	writes = w.writes(t)
	w.does(t, "adopt", "back", "shop-fleet", "--cluster", cluster, "--yes")
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"PATCH": 2 * many})
	if diff := cmp.Diff(managers, w.managers(t, ns)); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
	if got := w.field(t, gitRepos, at, "shop-fleet", "spec", "paused"); got != false {
		t.Errorf("paused: %v", got)
	}
	if diff := cmp.Diff(any(map[string]any{"enabled": true}), w.field(t, gitRepos, at, "shop-fleet", "spec", "correctDrift")); diff != "" {
		t.Errorf("drift (-want +got):\n%s", diff)
	}
}
