package member

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/diagnose"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// WhoAmI returns the name under which the member's API server knows the agent.
func (a *API) WhoAmI(ctx context.Context) (string, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	question := &unstructured.Unstructured{}
	question.SetGroupVersionKind(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"))
	answer, err := a.dynamic.Resource(authenticationv1.SchemeGroupVersion.WithResource("selfsubjectreviews")).
		Create(ctx, question, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking the API server for the agent's own name: %w", err)
	}
	name, _, err := unstructured.NestedString(answer.Object, "status", "userInfo", "username")
	if err != nil || name == "" {
		return "", fmt.Errorf("the API server does not say under which name it knows the agent")
	}
	return name, nil
}

// Diagnose looks for the reason why an object is not healthy. It is three reads at most.
func (a *API) Diagnose(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return diagnose.Why(ctx, a.dynamic, gvr, key.Namespace, key.Name)
}

// Overwrite makes an object of the agent's own making what body says, and nothing else, whoever set what more of it there was. It is a
// conflict when the object has changed since it was found.
func (a *API) Overwrite(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, body []byte, found metav1.Object) error {
	whole := &unstructured.Unstructured{}
	if err := whole.UnmarshalJSON(body); err != nil {
		return err
	}
	whole.SetUID(found.GetUID())
	whole.SetResourceVersion(found.GetResourceVersion())
	raw, err := whole.MarshalJSON()
	if err != nil {
		return err
	}
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return a.patch.Put().AbsPath(path(gvr, key)).Body(raw).
		SetHeader("Content-Type", "application/json").SetHeader("Accept", metadataOnly).
		SpecificallyVersionedParams(&metav1.UpdateOptions{FieldManager: v1alpha1.FieldManager}, metav1.ParameterCodec, metav1.SchemeGroupVersion).
		Do(ctx).Error()
}

// Erase deletes an object of the agent's own making, whatever its uid; it is no error when there is none.
func (a *API) Erase(ctx context.Context, gvr schema.GroupVersionResource, name string) error {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := a.metadata.Resource(gvr).Delete(ctx, name, metav1.DeleteOptions{}); !a.gone(err) {
		return err
	}
	return nil
}
