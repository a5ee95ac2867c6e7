package fakekube

import (
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
)

// fieldManager is the real code of server-side apply for a kind. It may be used by many at once.
func fieldManager(gvk schema.GroupVersionKind) *managedfields.FieldManager {
	fields, err := managedfields.NewDefaultCRDFieldManager(
		managedfields.NewDeducedTypeConverter(), oneVersion{}, oneVersion{}, oneVersion{}, gvk, gvk.GroupVersion(), "", nil)
	if err != nil {
		panic(err) // a value of this package's own
	}
	return fields
}

// oneVersion is how kinds are converted that have one version: not at all.
type oneVersion struct{}

func (oneVersion) Default(runtime.Object) {}

func (oneVersion) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetGroupVersionKind(gvk)
	return o, nil
}

func (oneVersion) Convert(_, _, _ any) error { return fmt.Errorf("a kind has one version here") }

func (oneVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (oneVersion) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

// change is one request to write an object.
type change struct {
	manager string
	force   bool
	how     how
	body    map[string]any
}

// how the body of a change becomes the object.
type how int

const (
	byApply how = iota
	byMerge
	byCreate
	byReplace
)

// on returns what the change makes of an object; live is nil when there is none.
func (c change) on(r *resource, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if c.how == byApply {
		return c.applied(r, live)
	}
	body := c.body
	if c.how == byMerge {
		body = merged(live.DeepCopy().Object, c.body).(map[string]any)
	}
	if live == nil {
		live = &unstructured.Unstructured{Object: map[string]any{}}
		live.SetGroupVersionKind(r.GroupVersionKind)
	}
	return asUnstructured(r.fields.Update(live, &unstructured.Unstructured{Object: body}, c.manager))
}

func (c change) applied(r *resource, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	wanted := &unstructured.Unstructured{Object: c.body}
	if wanted.GroupVersionKind() != r.GroupVersionKind {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the body is a %s, the path is of %s", wanted.GroupVersionKind(), r.GroupVersionKind))
	}
	if wanted.GetManagedFields() != nil {
		return nil, apierrors.NewBadRequest("metadata.managedFields must be nil")
	}
	before := live
	if before == nil {
		before = &unstructured.Unstructured{Object: map[string]any{}}
		before.SetGroupVersionKind(r.GroupVersionKind)
	} else if uid := wanted.GetUID(); uid != "" && uid != live.GetUID() {
		return nil, apierrors.NewConflict(schema.GroupResource{Group: r.Group, Resource: r.name}, live.GetName(), fmt.Errorf("uid mismatch"))
	}
	return asUnstructured(r.fields.Apply(before, wanted, c.manager, c.force))
}

func asUnstructured(o runtime.Object, err error) (*unstructured.Unstructured, error) {
	if err != nil {
		return nil, err
	}
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("the result of a write is a %T", o)
	}
	return u, nil
}

// merged is RFC 7386.
func merged(target, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	for name, value := range fields {
		if value == nil {
			delete(into, name)
			continue
		}
		into[name] = merged(into[name], value)
	}
	return into
}

// unchanged says whether two states of an object differ in nothing, or in the times of their managers alone: then
// nothing is written.
func unchanged(a, b *unstructured.Unstructured) bool {
	timeless := func(o *unstructured.Unstructured) (map[string]any, []metav1.ManagedFieldsEntry) {
		managers := o.GetManagedFields()
		for i := range managers {
			managers[i].Time = nil
		}
		o = o.DeepCopy()
		o.SetManagedFields(nil)
		return o.Object, managers
	}
	objectA, managersA := timeless(a)
	objectB, managersB := timeless(b)
	return reflect.DeepEqual(objectA, objectB) && reflect.DeepEqual(managersA, managersB)
}
