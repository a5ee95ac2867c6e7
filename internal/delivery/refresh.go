package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source"
	"umbel.dev/umbel/internal/delivery/webhook"
)

// Hooks serves the receivers of pushes, on every replica of the hub: what is heard is written to the hub's API, where the one
// that leads sees it. Setup has to have been called.
func Hooks(mgr ctrl.Manager, needs Needs) http.Handler {
	r := &refresher{client: mgr.GetClient(), now: needs.Now}
	return webhook.New(webhook.Needs{Secrets: mgr.GetAPIReader(), Refresh: r.refresh, Log: needs.Log})
}

// refresher asks for fetches.
type refresher struct {
	client client.Client
	now    func() time.Time
}

// refresh asks for the fetch of repositories, for the Packages of a namespace or of all. Of those that share a version of a
// source one is asked: the end of its fetch wakes the others.
func (r *refresher) refresh(ctx context.Context, namespace string, repositories []string) (int, error) {
	asked, concerned := map[source.Ref]bool{}, map[types.NamespacedName]bool{}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.RefreshAnnotation: r.now().UTC().Format(time.RFC3339Nano),
	}}})
	if err != nil {
		return 0, err
	}
	keys := map[string]bool{}
	for _, repository := range repositories {
		keys[webhook.Key(repository)] = true
	}
	delete(keys, "")
	for key := range keys {
		var packages v1alpha1.PackageList
		err := r.client.List(ctx, &packages, client.InNamespace(namespace), client.MatchingFields{packageByRepository: key}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return 0, fmt.Errorf("listing the packages of a repository: %w", err)
		}
		slices.SortFunc(packages.Items, func(a, b v1alpha1.Package) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
		for i := range packages.Items {
			pkg := &packages.Items[i]
			concerned[client.ObjectKeyFromObject(pkg)] = true
			at, ok := placeOf(pkg.Namespace, pkg.Spec.Source)
			if !ok || asked[at.ref] || !pkg.DeletionTimestamp.IsZero() {
				continue
			}
			asked[at.ref] = true
			shell := &v1alpha1.Package{}
			shell.Namespace, shell.Name = pkg.Namespace, pkg.Name
			if err := r.client.Patch(ctx, shell, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
				return 0, fmt.Errorf("asking package %s/%s to look at its source: %w", pkg.Namespace, pkg.Name, err)
			}
		}
	}
	return len(concerned), nil
}

// repositoryIndex is by what a push finds the Packages of a repository.
func repositoryIndex(ref source.Ref) string {
	if ref.Chart != "" {
		return webhook.Key(ref.URL + "/" + ref.Chart)
	}
	return webhook.Key(ref.URL)
}
