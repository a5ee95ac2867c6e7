package preview

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// place is where objects of a kind are. It is unborn when its namespace comes with the content and is not on the member: nothing can be in it.
// An API server lets each request into such a namespace wait for 50 ms, so that no more is asked of a place once one answer has said so.
type place struct {
	namespace string
	resource  schema.GroupVersionResource
}

func (l *look) isUnborn(p place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unborn[p]
}

func (l *look) noteUnborn(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unborn[p] = true
}

// find returns an object as it is; nil when there is none.
func (l *look) find(ctx context.Context, at dynamic.ResourceInterface, in place, name string) (*unstructured.Unstructured, error) {
	if l.isUnborn(in) {
		return nil, nil
	}
	now, err := at.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return now, err
}
