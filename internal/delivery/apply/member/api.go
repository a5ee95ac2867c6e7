package member

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

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
	"umbel.dev/umbel/internal/delivery/bundle"
)

const (
	// Writers is how many requests to the member's API server may be under way at once.
	Writers = 16
	// requestTimeout bounds one of them.
	requestTimeout = 30 * time.Second
)

// API is the member's API server: what kinds it has, and how objects on it are written and watched.
type API struct {
	metadata metadata.Interface
	dynamic  dynamic.Interface
	patch    rest.Interface
	slots    chan struct{}

	mu     sync.Mutex
	mapper meta.ResettableRESTMapper
}

// New returns the API server that config reaches. It asks nothing of it yet.
func New(config *rest.Config) (*API, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // the API server's priority and fairness decides, and slots
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	return newFor(config, client)
}

func newFor(config *rest.Config, client *http.Client) (*API, error) {
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(config, client)
	if err != nil {
		return nil, err
	}
	md, err := metadata.NewForConfigAndClient(metadata.ConfigFor(config), client)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, err
	}
	raw := metadata.ConfigFor(config)
	raw.GroupVersion, raw.APIPath = &schema.GroupVersion{}, "/" // each request has its whole path
	patch, err := rest.RESTClientForConfigAndClient(raw, client)
	if err != nil {
		return nil, err
	}
	return &API{
		metadata: md, dynamic: dyn, patch: patch, slots: make(chan struct{}, Writers),
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
	}, nil
}

// Place is where the objects of a kind are reached.
type Place struct {
	GVR        schema.GroupVersionResource
	Namespaced bool
}

// path is the path of an object of the kind.
func (p Place) path(key bundle.Key) string {
	path := "/api/" + p.GVR.Version
	if p.GVR.Group != "" {
		path = "/apis/" + p.GVR.Group + "/" + p.GVR.Version
	}
	if p.Namespaced {
		path += "/namespaces/" + key.Namespace
	}
	return path + "/" + p.GVR.Resource + "/" + key.Name
}

// Resolve returns where objects of a kind are reached, asking anew once when it is unknown; a meta.NoMatchError when the
// member has no such kind.
func (a *API) Resolve(gvk schema.GroupVersionKind) (Place, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	mapping, err := a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		a.mapper.Reset()
		mapping, err = a.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		return Place{}, err
	}
	return Place{mapping.Resource, mapping.Scope.Name() == meta.RESTScopeNameNamespace}, nil
}

func (a *API) at(p Place, key bundle.Key) metadata.ResourceInterface {
	if p.Namespaced {
		return a.metadata.Resource(p.GVR).Namespace(key.Namespace)
	}
	return a.metadata.Resource(p.GVR)
}

// acquire takes a slot, or returns the context's error.
func (a *API) acquire(ctx context.Context) (context.Context, func(), error) {
	select {
	case a.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	// A write that has begun is brought to its end: an interruption stops what comes after it. Otherwise the server
	// might do what nobody then remembers.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	return ctx, func() { cancel(); <-a.slots }, nil
}

// Ownership says what to do about fields that another manager owns.
type Ownership bool

const (
	Respect  Ownership = false // stop with a conflict
	TakeOver Ownership = true  // take the fields
)

// Written is what the server answered to an apply.
type Written struct {
	Seen
	// Created says that the object was not there before, by the server's own word.
	Created bool
	// Shared says that somebody else had a hand in the object, as far as its metadata tells.
	Shared bool
}

// Apply writes an object by server-side apply.
func (a *API) Apply(ctx context.Context, p Place, key bundle.Key, body []byte, o Ownership) (Written, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return Written{}, err
	}
	defer release()
	force := bool(o)
	var code int
	result := a.patch.Patch(types.ApplyPatchType).AbsPath(p.path(key)).Body(body).
		SetHeader("Accept", metadataOnly).
		SpecificallyVersionedParams(&metav1.PatchOptions{
			FieldManager: v1alpha1.FieldManager, Force: &force, FieldValidation: metav1.FieldValidationStrict,
		}, metav1.ParameterCodec, metav1.SchemeGroupVersion).
		Do(ctx).StatusCode(&code)
	if err := result.Error(); err != nil {
		return Written{}, err
	}
	got, err := result.Get()
	if err != nil {
		return Written{}, fmt.Errorf("reading the API server's answer: %w", err)
	}
	object, err := meta.Accessor(got)
	if err != nil {
		return Written{}, fmt.Errorf("reading the API server's answer: %w", err)
	}
	return Written{Observe(object), code == http.StatusCreated, shared(object)}, nil
}

// metadataOnly asks for the metadata of an object alone, in the form that is cheapest to read.
const metadataOnly = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// Delete deletes the object with the uid; it is no error when there is none any more. When another object has its name,
// or the uid is not known because a crash came before it was written down, that object is deleted only if it carries the
// package's label: then it is ours.
func (a *API) Delete(ctx context.Context, p Place, key bundle.Key, uid, label string) error {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	if uid != "" {
		if err := a.deleteUID(ctx, p, key, types.UID(uid)); !apierrors.IsConflict(err) {
			return err
		}
	}
	found, err := a.at(p, key).Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if found.Labels[v1alpha1.PackageLabel] != label {
		return nil // somebody else's
	}
	return a.deleteUID(ctx, p, key, found.UID)
}

func (a *API) deleteUID(ctx context.Context, p Place, key bundle.Key, uid types.UID) error {
	background := metav1.DeletePropagationBackground
	err := a.at(p, key).Delete(ctx, key.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// LetGo takes our hands off an object that was there before us: what we alone added goes, everything else stays. When the
// object cannot do without what we added, that stays as well, and belongs to nobody. It is no error when the object with
// the uid is gone.
func (a *API) LetGo(ctx context.Context, p Place, key bundle.Key, uid string) error {
	metadata := map[string]any{"name": key.Name, "uid": uid}
	if key.Namespace != "" {
		metadata["namespace"] = key.Namespace
	}
	version := schema.GroupVersion{Group: key.Group, Version: p.GVR.Version}.String()
	bare, err := json.Marshal(map[string]any{"apiVersion": version, "kind": key.Kind, "metadata": metadata})
	if err != nil {
		return err
	}
	_, err = a.Apply(ctx, p, key, bare, TakeOver)
	if apierrors.IsInvalid(err) {
		return a.disown(ctx, p, key, uid)
	}
	return err
}

// disown takes our name off an object, and changes nothing else of it.
func (a *API) disown(ctx context.Context, p Place, key bundle.Key, uid string) error {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	found, err := a.at(p, key).Get(ctx, key.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	managers := []metav1.ManagedFieldsEntry{}
	for _, entry := range found.ManagedFields {
		if !isOurs(entry) {
			managers = append(managers, entry)
		}
	}
	if len(managers) == 0 {
		managers = append(managers, metav1.ManagedFieldsEntry{}) // how the API is told that there are none
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": uid, "resourceVersion": found.ResourceVersion, "managedFields": managers,
		"labels": map[string]any{v1alpha1.PackageLabel: nil},
	}})
	if err != nil {
		return err
	}
	_, err = a.at(p, key).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	return err
}
