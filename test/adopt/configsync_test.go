package adopt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

var (
	rootSyncs      = schema.GroupVersionResource{Group: "configsync.gke.io", Version: "v1beta1", Resource: "rootsyncs"}
	resourceGroups = schema.GroupVersionResource{Group: "kpt.dev", Version: "v1alpha1", Resource: "resourcegroups"}
)

// likeness is a CustomResourceDefinition that takes anything, in place of one that no Go module has that can be had here.
func likeness(gvr schema.GroupVersionResource, kind string) string {
	return fmt.Sprintf(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %[1]s.%[2]s, annotations: {"api-approved.kubernetes.io": unapproved}},
		spec: {group: %[2]s, scope: Namespaced, names: {plural: %[1]s, singular: %[3]s, kind: %[4]s}, versions: [{name: %[5]s, served: true, storage: true,
		schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]}}`, gvr.Resource, gvr.Group, strings.ToLower(kind), kind, gvr.Version)
}

// meanwhile does something again and again until the test, or stop, ends it.
func meanwhile(t *testing.T, do func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := do(ctx); err != nil && !errors.Is(err, context.Canceled) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				t.Error(err)
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	stop = func() { cancel(); ended.Wait() }
	t.Cleanup(stop)
	return stop
}

// entriesOf are objects as inventories name them.
func entriesOf(all []unstructured.Unstructured, version string) (entries []any) {
	for _, o := range all {
		if o.GetName() == "kube-root-ca.crt" || o.GetName() == "default" {
			continue
		}
		gvk := o.GroupVersionKind()
		entry := map[string]any{"kind": gvk.Kind, "namespace": o.GetNamespace(), "name": o.GetName()}
		if version != "" {
			entry[version] = gvk.GroupVersion().String()
		} else {
			entry["group"] = gvk.Group
		}
		entries = append(entries, entry)
	}
	return entries
}

// byConfigSync has a RootSync of a name manage so many objects, from the folder apps of a repository.
func (w *world) byConfigSync(t *testing.T, ns, name string, n int) *sourcetest.Repository {
	t.Helper()
	w.define(t, likeness(rootSyncs, "RootSync"))
	const at = "config-management-system"
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, n)))
	w.create(t, rootSyncs, object(t, fmt.Sprintf(`{apiVersion: configsync.gke.io/v1beta1, kind: RootSync, metadata: {name: %s, namespace: %s, labels: {team: shop},
		annotations: {configsync.gke.io/deletion-propagation-policy: Foreground}, finalizers: [configsync.gke.io/reconciler]},
		spec: {sourceFormat: unstructured, sourceType: git, git: {repo: %q, branch: main, dir: /apps, auth: none, period: 15s}}}`, name, at, repo.Serve(nil))))
	if changed := w.engine(t, "cliutils", at, name, repo.Dir+"/apps"); changed != n {
		t.Fatalf("Config Sync's engine changed %d objects, of %d", changed, n)
	}
	meanwhile(t, func(ctx context.Context) error {
		o, err := w.dynamic.Resource(rootSyncs).Namespace(at).Get(ctx, name, metav1.GetOptions{})
		if err != nil || o.GetAnnotations()["configsync.gke.io/deletion-propagation-policy"] != "" || len(o.GetFinalizers()) == 0 {
			return err
		}
		o.SetFinalizers(nil)
		_, err = w.dynamic.Resource(rootSyncs).Namespace(at).Update(ctx, o, metav1.UpdateOptions{})
		return err
	})
	return repo
}

// TestConfigSync moves in with what a RootSync manages, and out again, after which Config Sync's engine has nothing to do. Config Sync
// itself is no Go module that can be had here: its engine is (test/peers), its kinds take anything, and the test plays the
// reconciler-manager, which takes the finalizer off once nothing is to be deleted.
func TestConfigSync(t *testing.T) {
	w := start(t)
	const ns, at = "by-configsync", "config-management-system"
	repo := w.byConfigSync(t, ns, "shop-sync", many)
	w.patch(t, rootSyncs, at, "shop-sync", "{spec: {git: {auth: gcpserviceaccount}}}")
	before, managers, writes := w.states(t, ns), w.managers(t, ns), w.writes(t)
	args := []string{"adopt", "rootsync", "shop-sync", "--cluster", cluster}
	refused := w.umbel(t.Context(), append(args, "--yes")...)
	if want := "  spec.git.auth: gcpserviceaccount; Umbel signs in with what a Secret has\n"; refused.Code != 1 || !strings.Contains(refused.Err, want) {
		t.Errorf("%q is not in (code %d):\n%.3000s", want, refused.Code, refused.Err)
	}
	w.patch(t, rootSyncs, at, "shop-sync", "{spec: {git: {auth: none}}}")

	w.does(t, append(args, "--yes")...)
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"APPLY": many, "PATCH": many})
	if _, err := w.dynamic.Resource(rootSyncs).Namespace(at).Get(t.Context(), "shop-sync", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the RootSync is still there: %v", err)
	}
	if now := w.managers(t, ns); now["configsync Apply"] != 0 || now["umbel-agent Apply"] != many {
		t.Errorf("managers: %v", now)
	}
	w.does(t, append(args, "--yes")...) // once more, without the RootSync
	w.theSame(t, ns, before)

	writes = w.writes(t)
	w.does(t, "adopt", "back", "shop-sync", "--cluster", cluster, "--yes")
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"PATCH": 2 * many})
	if diff := cmp.Diff(managers, w.managers(t, ns)); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
	want := map[string]any{"sourceFormat": "unstructured", "sourceType": "git", "git": map[string]any{"repo": w.field(t, rootSyncs, at, "shop-sync", "spec", "git", "repo"), "branch": "main", "dir": "/apps", "auth": "none", "period": "15s"}}
	if diff := cmp.Diff(any(want), w.field(t, rootSyncs, at, "shop-sync", "spec")); diff != "" {
		t.Errorf("the RootSync (-want +got):\n%s", diff)
	}
	if got := w.field(t, rootSyncs, at, "shop-sync", "metadata", "annotations", "configsync.gke.io/deletion-propagation-policy"); got != "Foreground" {
		t.Errorf("when it is deleted: %v", got)
	}
	// The label that the API server gives a Namespace is the engine's as well now, which lets go of it once.
	for pass, most := range []int{1, 0} {
		if changed := w.engine(t, "cliutils", at, "shop-sync", repo.Dir+"/apps"); changed > most {
			t.Errorf("pass %d of Config Sync's engine changes %d objects", pass, changed)
		}
		w.theSame(t, ns, before)
	}
}
