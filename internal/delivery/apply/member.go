package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// writers is how many requests to the member's API server may be under way at once.
	writers = 16
	// requestTimeout bounds one of them.
	requestTimeout = 30 * time.Second
)

// member is the member's API server: what kinds it has, and how objects on it are written and watched. What it
// returns of an object is its metadata alone: the agent has no use for the rest.
type member struct {
	metadata metadata.Interface
	dynamic  dynamic.Interface
	slots    chan struct{}

	mu     sync.Mutex
	mapper meta.ResettableRESTMapper
}

func newMember(config *rest.Config) (*member, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server's priority and fairness decides, and slots
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return newMemberFor(config, httpClient)
}

func newMemberFor(config *rest.Config, httpClient *http.Client) (*member, error) {
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	md, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), httpClient)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return nil, err
	}
	return &member{
		metadata: md, dynamic: dyn, slots: make(chan struct{}, writers),
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
	}, nil
}

// place is where the objects of a kind are reached.
type place struct {
	gvr        schema.GroupVersionResource
	namespaced bool
}

// resolve returns where objects of a kind are reached; a meta.NoMatchError when the member has no such kind.
func (m *member) resolve(gvk schema.GroupVersionKind) (place, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	mapping, err := m.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return place{}, err
	}
	return place{mapping.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}

// forget makes the next resolve ask the API server for its kinds again.
func (m *member) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mapper.Reset()
}

func (m *member) at(p place, key Key) metadata.ResourceInterface {
	if p.namespaced {
		return m.metadata.Resource(p.gvr).Namespace(key.Namespace)
	}
	return m.metadata.Resource(p.gvr)
}

// acquire takes a slot, or returns the context's error.
func (m *member) acquire(ctx context.Context) (context.Context, func(), error) {
	select {
	case m.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	// A write that has begun is brought to its end: an interruption stops what comes after it. Otherwise the server
	// might do what nobody then remembers.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	return ctx, func() { cancel(); <-m.slots }, nil
}

// ownership says what to do about fields that another manager owns.
type ownership bool

const (
	respect  ownership = false // stop with a conflict
	takeOver ownership = true  // take the fields
)

// apply writes an object by server-side apply and returns its metadata.
func (m *member) apply(ctx context.Context, p place, key Key, body []byte, o ownership) (*metav1.PartialObjectMetadata, error) {
	ctx, release, err := m.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	force := bool(o)
	return m.at(p, key).Patch(ctx, key.Name, types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: v1alpha1.FieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict,
	})
}

// delete deletes the object with the uid; it is no error when there is none any more. When another object has its name,
// or the uid is not known because a crash came before it was written down, that object is deleted only if it carries the
// package's label: then it is ours.
func (m *member) delete(ctx context.Context, p place, key Key, uid, label string) error {
	ctx, release, err := m.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if uid != "" {
		if err := m.deleteUID(ctx, p, key, types.UID(uid)); !apierrors.IsConflict(err) {
			return err
		}
	}
	found, err := m.at(p, key).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Labels[v1alpha1.PackageLabel] != label {
		return nil // somebody else's
	}
	return m.deleteUID(ctx, p, key, found.UID)
}

func (m *member) deleteUID(ctx context.Context, p place, key Key, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	err := m.at(p, key).Delete(ctx, key.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// observe reduces an object's metadata to what judging needs.
func observe(o metav1.Object) seen {
	version, _ := strconv.ParseUint(o.GetResourceVersion(), 10, 64) // 0 reads as unknown
	is := seen{version: version, uid: string(o.GetUID()), gone: false}
	var latest time.Time
	for _, entry := range o.GetManagedFields() {
		if isOurs(entry) {
			is.owned = entryHash(entry)
			continue
		}
		if entry.Subresource == "" && entry.Time != nil && entry.Time.After(latest) {
			latest, is.by = entry.Time.Time, entry.Manager
		}
	}
	return is
}

func isOurs(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == v1alpha1.FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

func entryHash(entry metav1.ManagedFieldsEntry) uint64 {
	h := xxhash.New()
	_, _ = h.WriteString(entry.APIVersion)
	if entry.Time != nil {
		_, _ = h.WriteString(strconv.FormatInt(entry.Time.Unix(), 10))
	}
	if entry.FieldsV1 != nil {
		_, _ = h.Write(entry.FieldsV1.GetRawBytes())
	}
	return h.Sum64()
}

// wasThere says whether an object existed before our first apply to it, from that apply's response: then somebody
// else made fields of it, or it is older than our entry. The server takes both times while it creates the object, in
// whole seconds, so they may be one apart.
func wasThere(o metav1.Object) bool {
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource != "" {
			continue // a controller's word on it, not a claim to it
		}
		if !isOurs(entry) || entry.Time != nil && entry.Time.Sub(o.GetCreationTimestamp().Time).Abs() > time.Second {
			return true
		}
	}
	return false
}

// explain says in a sentence why the API server refused an object.
func explain(err error) string {
	if apierrors.IsConflict(err) {
		if fields := conflicts(err); fields != "" {
			return fields + "; leave the field out of the source, or let Umbel have it with the annotation " +
				v1alpha1.TakeOverAnnotation + `: "true" on the object`
		}
	}
	if meta.IsNoMatchError(err) {
		return err.Error() + ": the cluster does not have this kind; is its CustomResourceDefinition part of a package?"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("the API server did not answer within %s", requestTimeout)
	}
	return err.Error()
}

// conflicts names the fields that other managers own, and the managers.
func conflicts(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	var parts []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			parts = append(parts, fmt.Sprintf("field %s: %s", cause.Field, cause.Message))
		}
	}
	slices.Sort(parts)
	return strings.Join(slices.Compact(parts), ", ")
}
