package outgoing

import (
	"context"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/bundle"
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

// Retakes says whether a conflict is about nothing but fields that the object had when it was sent last, that were not left to others, and
// that are the agent's no more by the entries of managedFields: somebody has changed them since, and it takes them back. Other fields were
// never the agent's alone.
func (o Object) Retakes(conflict error, left *Left, entries []metav1.ManagedFieldsEntry) bool {
	object, err := fields.Decode(o.Body)
	if err != nil {
		return false
	}
	if left != nil {
		fields.Without(object, left.Fields(object))
	}
	return lost(conflict, entries, func(path string) bool { return fields.Has(object, path) })
}

// MayRetake is Retakes where it is not known what was sent last: any field that the agent has not may have been its.
func MayRetake(conflict error, entries []metav1.ManagedFieldsEntry) bool {
	return fields.Ours(entries) != nil && lost(conflict, entries, func(string) bool { return true })
}

// lost says whether a conflict is about nothing but fields that the agent had, and has no more.
func lost(conflict error, entries []metav1.ManagedFieldsEntry, had func(path string) bool) bool {
	status, is := errors.AsType[*apierrors.StatusError](conflict)
	if !is || !apierrors.IsConflict(conflict) || status.ErrStatus.Details == nil || len(status.ErrStatus.Details.Causes) == 0 {
		return false
	}
	has := fields.Entry{}
	if ours := fields.Ours(entries); ours != nil {
		var err error
		if has, err = fields.ParseEntry(ours); err != nil {
			return false
		}
	}
	return !slices.ContainsFunc(status.ErrStatus.Details.Causes, func(cause metav1.StatusCause) bool {
		return cause.Type != metav1.CauseTypeFieldManagerConflict || has.Has(cause.Field) || !had(cause.Field)
	})
}

// Rehearse has the API server say what would become of an object by what Against gave, and changes nothing. Fields that others own are
// taken where the agent would: all of them where the object asks for it, and otherwise when retakes says so of the conflict.
func (o Object) Rehearse(ctx context.Context, at dynamic.ResourceInterface, body []byte, retakes func(conflict error) bool) (*unstructured.Unstructured, error) {
	then, err := rehearse(ctx, at, o.ID.Name, body, o.TakeOver)
	if apierrors.IsConflict(err) && !o.TakeOver && retakes(err) {
		return rehearse(ctx, at, o.ID.Name, body, true)
	}
	return then, err
}

// Without has the API server say what would become of an object that is there as now if the agent took off it what it alone added, and
// changes nothing.
func Without(ctx context.Context, at dynamic.ResourceInterface, key bundle.Key, now *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := Nothing(now.GetAPIVersion(), key, now.GetUID())
	if err != nil {
		return nil, err
	}
	return rehearse(ctx, at, key.Name, body, true)
}

func rehearse(ctx context.Context, at dynamic.ResourceInterface, name string, body []byte, force bool) (*unstructured.Unstructured, error) {
	return at.Patch(ctx, name, types.ApplyPatchType, body, metav1.PatchOptions{
		DryRun: []string{metav1.DryRunAll}, FieldManager: v1alpha1.FieldManager, Force: &force,
		FieldValidation: metav1.FieldValidationStrict,
	})
}
