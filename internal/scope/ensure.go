package scope

import (
	"context"
	"fmt"
	"maps"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// taken says that an object which a Scope needs is not the Scope's.
type taken struct {
	what    string
	leaving bool
}

func (t *taken) Error() string {
	if t.leaving {
		return t.what + " of an earlier Scope of this name is still being taken back; this one begins when it is gone"
	}
	return t.what + " is there already and was not made by this Scope: delete it, or give the Scope another name"
}

// ensure makes an object as it is wanted, and returns what is there then. What is in it beside what a Scope says, such as
// finalizers, stays. An object that is on its way out is left to that.
func ensure[T client.Object](ctx context.Context, c *Controller, scope *v1alpha1.Scope, want T) (T, error) {
	var none T
	what := c.name(want)
	have, there, err := find(ctx, c, want)
	if err != nil {
		return none, fmt.Errorf("reading %s: %w", what, err)
	}
	if !there {
		if err := c.client.Create(ctx, want); err != nil {
			return none, fmt.Errorf("making %s: %w", what, err)
		}
		return want, nil
	}
	leaving := !have.GetDeletionTimestamp().IsZero()
	if !metav1.IsControlledBy(have, scope) {
		return none, &taken{what: what, leaving: leaving && have.GetLabels()[v1alpha1.ScopeLabel] == scope.Name}
	}
	if leaving {
		return have, nil
	}
	if err := c.amend(ctx, have, want); err != nil {
		return none, fmt.Errorf("changing %s: %w", what, err)
	}
	return have, nil
}

// find returns the object of that name, and whether it is there. One that is not in the cache may still be there: somebody's, without our
// label, or one that was made a moment ago.
func find[T client.Object](ctx context.Context, c *Controller, want T) (have T, there bool, err error) {
	have = want.DeepCopyObject().(T)
	err = c.client.Get(ctx, client.ObjectKeyFromObject(want), have)
	if apierrors.IsNotFound(err) {
		have = want.DeepCopyObject().(T)
		err = c.live.Get(ctx, client.ObjectKeyFromObject(want), have)
	}
	if apierrors.IsNotFound(err) {
		return have, false, nil
	}
	return have, err == nil, err
}

// amend changes what is there to what is wanted, when it differs.
func (c *Controller) amend(ctx context.Context, have, want client.Object) error {
	before := have.DeepCopyObject()
	labels := maps.Clone(have.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, want.GetLabels())
	have.SetLabels(labels)
	bound := adopt(have, want)
	if equality.Semantic.DeepEqual(before, have) {
		return nil
	}
	if bound {
		return c.client.Update(ctx, have)
	}
	// The role of a binding cannot be changed: one that leads elsewhere is made anew.
	if err := c.client.Delete(ctx, have, client.Preconditions{UID: new(have.GetUID())}); client.IgnoreNotFound(err) != nil {
		return err
	}
	return c.client.Create(ctx, want)
}

// adopt takes over what a Scope says. It returns false for a binding of another role.
func adopt(have, want client.Object) (bound bool) {
	switch have := have.(type) {
	case *v1alpha1.Placement:
		have.Spec = want.(*v1alpha1.Placement).Spec
	case *v1alpha1.Package:
		have.Spec = want.(*v1alpha1.Package).Spec
	case *rbacv1.ClusterRole:
		have.Rules, have.AggregationRule = want.(*rbacv1.ClusterRole).Rules, nil
	case *rbacv1.ClusterRoleBinding:
		binding := want.(*rbacv1.ClusterRoleBinding)
		have.Subjects, bound = binding.Subjects, have.RoleRef == binding.RoleRef
		have.RoleRef = binding.RoleRef
		return bound
	}
	return true
}

// remove deletes an object of the Scope, and says whether it is still there. What is not the Scope's is left alone. What is
// there is left in object.
func (c *Controller) remove(ctx context.Context, scope *v1alpha1.Scope, object client.Object) (left bool, err error) {
	what := c.name(object)
	// Past the cache: what was made a moment ago must not stay behind.
	err = c.live.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", what, err)
	}
	if !metav1.IsControlledBy(object, scope) {
		return false, nil
	}
	if object.GetDeletionTimestamp().IsZero() {
		err := c.client.Delete(ctx, object, client.Preconditions{UID: new(object.GetUID())})
		if client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("deleting %s: %w", what, err)
		}
	}
	err = c.live.Get(ctx, client.ObjectKeyFromObject(object), object)
	if err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return true, nil
}

// name is KIND [NAMESPACE/]NAME, for people.
func (c *Controller) name(object client.Object) string {
	kind := fmt.Sprintf("%T", object)
	if gvk, err := c.client.GroupVersionKindFor(object); err == nil {
		kind = gvk.Kind
	}
	if object.GetNamespace() == "" {
		return kind + " " + object.GetName()
	}
	return kind + " " + object.GetNamespace() + "/" + object.GetName()
}
