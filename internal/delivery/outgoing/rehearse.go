package outgoing

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// Rehearse has the API server say what an object would be after the agent's apply, and changes nothing; now is how it is, nil when
// there is none. Fields that others own are taken when the agent would: its own back, and all of them where the object asks for it.
func (o Object) Rehearse(ctx context.Context, at dynamic.ResourceInterface, now *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	force := o.TakeOver || now != nil && slices.ContainsFunc(now.GetManagedFields(), fields.IsOurs)
	return o.rehearse(ctx, at, now, force)
}

// RehearseTaking is Rehearse, but that fields are taken whoever owns them.
func (o Object) RehearseTaking(ctx context.Context, at dynamic.ResourceInterface, now *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return o.rehearse(ctx, at, now, true)
}

func (o Object) rehearse(ctx context.Context, at dynamic.ResourceInterface, now *unstructured.Unstructured, force bool) (*unstructured.Unstructured, error) {
	body := o.Body
	if o.Sealed {
		var live map[string]any
		if now != nil {
			live = now.Object
		}
		var err error
		if body, err = sealed.Compare(body, live); err != nil {
			return nil, err
		}
	}
	return at.Patch(ctx, o.ID.Name, types.ApplyPatchType, body, metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: v1alpha1.FieldManager, Force: ptr.To(force),
		FieldValidation: metav1.FieldValidationStrict,
	})
}
