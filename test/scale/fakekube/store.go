package fakekube

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/watch"

	"umbel.dev/umbel/api/v1alpha1"
)

// remembered is how many events a watch may begin before.
const remembered = 100

// id names an object.
type id struct {
	resource        *resource
	namespace, name string
}

func (i id) group() schema.GroupResource {
	return schema.GroupResource{Group: i.resource.Group, Resource: i.resource.name}
}

// event is one write. The objects in it are never changed.
type event struct {
	id      id
	version uint64
	before  *unstructured.Unstructured // nil when it was not there
	after   *unstructured.Unstructured // nil when it is deleted
	last    *unstructured.Unstructured // of a deleted object, with the version of the delete
}

// store is the objects of one server.
type store struct {
	mu       sync.Mutex
	version  uint64
	objects  map[id]*unstructured.Unstructured
	history  []event
	watchers map[*watcher]struct{}
	written  func(Write) // optional
}

// Write is what a watcher of the whole server, such as a test, is told of each write.
type Write struct {
	Kind, Namespace, Name string
	// Object is what is there now, nil when it was deleted. It is not to be changed.
	Object *unstructured.Unstructured
}

// selection is what a list or watch is about.
type selection struct {
	resource  *resource
	namespace string // empty means all
	labels    labels.Selector
}

func (s selection) has(i id, o *unstructured.Unstructured) bool {
	return o != nil && i.resource == s.resource && (s.namespace == "" || s.namespace == i.namespace) && s.labels.Matches(labels.Set(o.GetLabels()))
}

func newStore() *store {
	s := &store{version: 1, objects: map[id]*unstructured.Unstructured{}, watchers: map[*watcher]struct{}{}}
	namespaces := find(schema.GroupVersion{Version: "v1"}, "namespaces")
	for _, name := range []string{"default", "kube-system", v1alpha1.AgentNamespace} {
		body := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}
		if _, _, err := s.change(id{namespaces, "", name}, change{manager: "fakekube", body: body}); err != nil {
			panic(err) // a value of this package's own
		}
	}
	return s
}

func (s *store) get(i id) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[i]; o != nil {
		return o, nil
	}
	return nil, apierrors.NewNotFound(i.group(), i.name)
}

// list returns what is selected, in the order of names, and the version of the list.
func (s *store) list(which selection) ([]*unstructured.Unstructured, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.selected(which), s.version
}

// selected returns what is selected, in the order of names. The caller holds mu.
func (s *store) selected(which selection) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for i, o := range s.objects {
		if which.has(i, o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return found
}

// change carries out a write and returns what the object is then.
func (s *store) change(i id, c change) (o *unstructured.Unstructured, created bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.objects[i]
	if live == nil && i.resource.namespaced && s.objects[id{find(schema.GroupVersion{Version: "v1"}, "namespaces"), "", i.namespace}] == nil {
		return nil, false, apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, i.namespace)
	}
	switch {
	case live == nil && (c.how == byMerge || c.how == byReplace):
		return nil, false, apierrors.NewNotFound(i.group(), i.name)
	case live != nil && c.how == byCreate:
		return nil, false, apierrors.NewAlreadyExists(i.group(), i.name)
	}
	after, err := c.on(i.resource, live)
	if err != nil {
		return nil, false, err
	}
	if expected := after.GetResourceVersion(); live != nil && expected != "" && expected != live.GetResourceVersion() {
		return nil, false, apierrors.NewConflict(i.group(), i.name, fmt.Errorf("the object has been modified"))
	}
	after.SetName(i.name)
	after.SetNamespace(i.namespace)
	if live == nil {
		after.SetUID(uuid.NewUUID())
		after.SetCreationTimestamp(metav1.Time{Time: time.Now().UTC()})
	} else {
		after.SetUID(live.GetUID())
		after.SetCreationTimestamp(live.GetCreationTimestamp())
		after.SetResourceVersion(live.GetResourceVersion())
		if unchanged(live, after) {
			return live, false, nil
		}
	}
	s.put(event{id: i, before: live, after: after})
	return after, live == nil, nil
}

// delete takes an object away, a Namespace with what is in it.
func (s *store) delete(i id, uid types.UID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.objects[i]
	if live == nil {
		return apierrors.NewNotFound(i.group(), i.name)
	}
	if uid != "" && uid != live.GetUID() {
		return apierrors.NewConflict(i.group(), i.name, fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s)", uid, live.GetUID()))
	}
	if i.resource.Kind == "Namespace" {
		for inside, o := range s.objects {
			if inside.namespace == i.name {
				s.put(event{id: inside, before: o})
			}
		}
	}
	s.put(event{id: i, before: live})
	return nil
}

// put makes an event happen: in the store, in the history, and to those who watch. The caller holds mu.
func (s *store) put(e event) {
	s.version++
	e.version = s.version
	if e.after != nil {
		e.after.SetResourceVersion(strconv.FormatUint(e.version, 10))
		s.objects[e.id] = e.after
	} else {
		e.last = e.before.DeepCopy()
		e.last.SetResourceVersion(strconv.FormatUint(e.version, 10))
		delete(s.objects, e.id)
	}
	if s.history = append(s.history, e); len(s.history) > remembered {
		s.history = slices.Clone(s.history[len(s.history)-remembered/2:])
	}
	for w := range s.watchers {
		s.tell(w, e)
	}
	if s.written != nil {
		s.written(Write{e.id.resource.Kind, e.id.namespace, e.id.name, e.after})
	}
}

// seen returns what an event is to those who watch a selection, nil for nothing.
func (s selection) seen(e event) (watch.EventType, *unstructured.Unstructured) {
	had, has := s.has(e.id, e.before), s.has(e.id, e.after)
	switch {
	case has && had:
		return watch.Modified, e.after
	case has:
		return watch.Added, e.after
	case had && e.after != nil:
		return watch.Deleted, e.after // it left the selection
	case had:
		return watch.Deleted, e.last
	}
	return "", nil
}

// oldest is the first version from which a watch can begin. The caller holds mu.
func (s *store) oldest() uint64 {
	if len(s.history) == 0 {
		return s.version
	}
	return s.history[0].version - 1
}
