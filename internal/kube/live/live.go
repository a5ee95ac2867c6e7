// Package live asks an API itself about what a cache lacks.
//
// A hub decides by caches, and a cache is as good as the list that it began with: where that was cut short, what is missing looks as if
// it had been deleted. Whoever would take something away for that asks here first. It costs one request, and only when something is missing.
package live

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// Gone returns nil when the API says that there is no object of a kind of ours any more. Otherwise its error says that it is there, and that
// the list which lacks it is not believed; or that the API could not be asked. reader is one past the cache.
func Gone(ctx context.Context, reader client.Reader, kind string, key client.ObjectKey) error {
	object := metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	name := key.Name
	if key.Namespace != "" {
		name = key.String()
	}
	switch err := reader.Get(ctx, key, &object); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("asking whether %s %s is gone: %w", kind, name, err)
	}
	return fmt.Errorf("%s %s is there, and was not listed: that list is not believed", kind, name)
}
