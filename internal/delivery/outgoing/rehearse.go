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

// Against is what is sent to see what the agent would make of an object that is there as now; nil when there is none. What came
// encrypted, and what is left to others, is as the cluster has it. Its error is one of the object.
func (o Object) Against(now *unstructured.Unstructured, left *Left) (body []byte, err error) {
	if o.Wrong != nil {
		return nil, o.Wrong
	}
	body = o.Body
	if o.Sealed {
		var live map[string]any
		if now != nil {
			live = now.Object
		}
		if body, err = sealed.Compare(body, live); err != nil {
			return nil, err
		}
	}
	if now == nil || left == nil {
		return body, nil
	}
	object, err := fields.Decode(body)
	if err != nil {
		return nil, err
	}
	entries := now.GetManagedFields()
	pointers := left.Fields(object)
	entry := fields.Ours(entries)
	if _, ours, err := Release(object, pointers, entry); err != nil || !ours {
		if err != nil {
			return nil, err
		}
		return left.Rest(object, entries)
	}
	// The agent gives its ownership up before it applies the rest. Without that a field that is left out would go.
	owned, err := fields.ParseEntry(entry)
	if err != nil {
		return nil, err
	}
	live := now.DeepCopy().Object // parts of it come into the object, which is changed
	for _, p := range pointers {
		owned.Borrow(object, live, p)
	}
	fields.Without(object, nil)
	if err := left.subtract(object, entries); err != nil {
		return nil, err
	}
	return fields.Encode(object)
}

// Rehearse has the API server say what would become of an object by what Against gave, and changes nothing. Fields that others own are
// taken when the agent would: its own back, and all of them where the object asks for it.
func (o Object) Rehearse(ctx context.Context, at dynamic.ResourceInterface, now *unstructured.Unstructured, body []byte) (*unstructured.Unstructured, error) {
	return rehearse(ctx, at, o.ID.Name, body, ptr.To(o.TakeOver || now != nil && slices.ContainsFunc(now.GetManagedFields(), fields.IsOurs)))
}

// RehearseTaking is Rehearse, but that fields are taken whoever owns them.
func (o Object) RehearseTaking(ctx context.Context, at dynamic.ResourceInterface, body []byte) (*unstructured.Unstructured, error) {
	return rehearse(ctx, at, o.ID.Name, body, ptr.To(true))
}

func rehearse(ctx context.Context, at dynamic.ResourceInterface, name string, body []byte, force *bool) (*unstructured.Unstructured, error) {
	return at.Patch(ctx, name, types.ApplyPatchType, body, metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: v1alpha1.FieldManager, Force: force,
		FieldValidation: metav1.FieldValidationStrict,
	})
}
