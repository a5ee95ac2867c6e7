package hub

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
)

const (
	fieldManager = "umbel-hub"
	// servedTimeout is how long a new kind may take until the API serves it.
	servedTimeout = 30 * time.Second
)

// install brings the kinds and the namespace that the hub needs into the API. It is idempotent.
func install(ctx context.Context, c client.Client) error {
	err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", v1alpha1.SystemNamespace, err)
	}
	files, err := fs.Glob(deploy.CRDs, "crds/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		raw, err := fs.ReadFile(deploy.CRDs, file)
		if err != nil {
			return err
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(raw, &crd.Object); err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner(fieldManager), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("installing %s: %w", crd.GetName(), err)
		}
	}
	return awaitServed(ctx, c)
}

// awaitServed waits until every kind of ours can be listed.
func awaitServed(ctx context.Context, c client.Client) error {
	lists := []client.ObjectList{&v1alpha1.MemberClusterList{}, &v1alpha1.PlacementList{}, &v1alpha1.PackageList{}, &v1alpha1.ReleaseList{}}
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, servedTimeout, true, func(ctx context.Context) (bool, error) {
		for _, list := range lists {
			if last = c.List(ctx, list, client.Limit(1)); last != nil {
				if apierrors.IsNotFound(last) || meta.IsNoMatchError(last) {
					return false, nil
				}
				return false, last
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until the API serves our kinds: %w (last: %w)", err, last)
	}
	return nil
}
