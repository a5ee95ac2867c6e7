package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// asked is versions of sources, as indexed gives them, in a namespace.
type asked struct{ refs, namespace string }

// refresh asks for the fetch of repositories, for the Packages of a namespace or of all. Of those of a namespace that share a version
// of a source one that can be asked is: the end of its fetch wakes the others. One that cannot be holds up no other.
func (r *refresher) refresh(ctx context.Context, namespace string, repositories []string) (int, error) {
	concerned, err := r.concerned(ctx, namespace, repositories)
	if err != nil {
		return 0, err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		v1alpha1.RefreshAnnotation: r.now().UTC().Format(time.RFC3339Nano),
	}}})
	if err != nil {
		return 0, err
	}
	done, failed := map[asked]bool{}, map[asked]error{}
	for i := range concerned {
		pkg := &concerned[i]
		refs := refsOf(pkg)
		ask := asked{fmt.Sprintf("%#v", refs), pkg.Namespace}
		if refs == nil || done[ask] || !pkg.DeletionTimestamp.IsZero() {
			continue
		}
		shell := &v1alpha1.Package{}
		shell.Namespace, shell.Name = pkg.Namespace, pkg.Name
		if err := r.client.Patch(ctx, shell, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
			failed[ask] = fmt.Errorf("asking package %s/%s to look at its source: %w", pkg.Namespace, pkg.Name, err)
			continue
		}
		done[ask] = true
		delete(failed, ask)
	}
	return len(concerned), errors.Join(slices.Collect(maps.Values(failed))...)
}

// concerned are the Packages of repositories, each once, the oldest first.
func (r *refresher) concerned(ctx context.Context, namespace string, repositories []string) (concerned []v1alpha1.Package, err error) {
	keys := map[string]bool{}
	for _, repository := range repositories {
		keys[webhook.Key(repository)] = true
	}
	delete(keys, "")
	for key := range keys {
		var packages v1alpha1.PackageList
		err := r.client.List(ctx, &packages, client.InNamespace(namespace), client.MatchingFields{packageByRepository: key}, client.UnsafeDisableDeepCopy)
		if err != nil {
			return nil, fmt.Errorf("listing the packages of a repository: %w", err)
		}
		concerned = append(concerned, packages.Items...)
	}
	slices.SortFunc(concerned, func(a, b v1alpha1.Package) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return concerned, nil
}

// repositoryIndex is by what a push finds the Packages of a repository.
func repositoryIndex(ref source.Ref) string {
	if ref.Chart != "" {
		return webhook.Key(ref.URL + "/" + ref.Chart)
	}
	return webhook.Key(ref.URL)
}
