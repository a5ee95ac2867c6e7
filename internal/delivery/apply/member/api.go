package member

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	"k8s.io/client-go/util/retry"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

const (
	// Writers is how many requests to the member's API server may be under way at once.
	Writers = 16
	// requestTimeout bounds one of them.
	requestTimeout = 30 * time.Second
)

// API is the member's API server: what kinds it has, and how objects on it are written and watched.
type API struct {
	config   *rest.Config
	metadata metadata.Interface
	dynamic  dynamic.Interface
	patch    rest.Interface
	slots    chan struct{}
	kinds    *kinds
}

// kinds is what kinds there are, which is no secret: whoever asks, it is the agent that found out.
type kinds struct {
	discovery discovery.DiscoveryInterface

	mu     sync.Mutex
	mapper meta.ResettableRESTMapper
}

// New returns the API server that config reaches. It asks nothing of it yet.
func New(config *rest.Config) (*API, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1                           // the API server's priority and fairness decides, and slots
	config.WarningHandler = rest.NoWarnings{} // they go to the log as they are, and admission may quote values in them
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
		config: config, metadata: md, dynamic: dyn, patch: patch, slots: make(chan struct{}, Writers),
		kinds: &kinds{discovery: disco, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))},
	}, nil
}

// path is the path of an object. Its key has a namespace when, and only when, its kind has.
func path(gvr schema.GroupVersionResource, key bundle.Key) string {
	path := "/api/" + gvr.Version
	if gvr.Group != "" {
		path = "/apis/" + gvr.Group + "/" + gvr.Version
	}
	if key.Namespace != "" {
		path += "/namespaces/" + key.Namespace
	}
	return path + "/" + gvr.Resource + "/" + key.Name
}

func (a *API) at(gvr schema.GroupVersionResource, key bundle.Key) metadata.ResourceInterface {
	if key.Namespace != "" {
		return a.metadata.Resource(gvr).Namespace(key.Namespace)
	}
	return a.metadata.Resource(gvr)
}

// Resolve returns the resource of a kind and whether its objects have namespaces, asking anew once when it is unknown; a
// meta.NoMatchError when the member has no such kind.
func (a *API) Resolve(gvk schema.GroupVersionKind) (_ schema.GroupVersionResource, scope meta.RESTScopeName, err error) {
	mapping, err := a.mapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return schema.GroupVersionResource{}, "", err
	}
	return mapping.Resource, mapping.Scope.Name(), nil
}

// Locate returns the resource at which the objects of a kind are reached, whatever its version, and not served when the
// member has no such kind any more. That it could not find out is an error.
func (a *API) Locate(gk schema.GroupKind) (_ schema.GroupVersionResource, served bool, err error) {
	mapping, err := a.mapping(gk)
	if err == nil {
		return mapping.Resource, true, nil
	}
	if !meta.IsNoMatchError(err) {
		return schema.GroupVersionResource{}, false, err
	}
	// The mapper leaves out groups that did not answer: only a whole answer says that a kind is not there.
	_, lists, err := a.kinds.discovery.ServerGroupsAndResources()
	if err != nil {
		return schema.GroupVersionResource{}, false, fmt.Errorf("finding out whether the cluster still has the kind %s: %w", gk, err)
	}
	if !slices.ContainsFunc(lists, func(l *metav1.APIResourceList) bool { return l.GroupVersion == "v1" && len(l.APIResources) > 0 }) {
		return schema.GroupVersionResource{}, false, fmt.Errorf("finding out whether the cluster still has the kind %s: it says that it has none at all", gk)
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || gv.Group != gk.Group {
			continue
		}
		for _, resource := range list.APIResources {
			if resource.Kind == gk.Kind && !strings.Contains(resource.Name, "/") {
				return gv.WithResource(resource.Name), true, nil
			}
		}
	}
	return schema.GroupVersionResource{}, false, nil
}

func (a *API) mapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	a.kinds.mu.Lock()
	defer a.kinds.mu.Unlock()
	mapping, err := a.kinds.mapper.RESTMapping(gk, versions...)
	if err != nil {
		a.kinds.mapper.Reset()
		mapping, err = a.kinds.mapper.RESTMapping(gk, versions...)
	}
	return mapping, err
}

// gone says whether an error is the server's word that an object does not exist. A path that is not served, because the
// kind or its version is not, reads like that to the client, and says nothing of the object.
func (a *API) gone(err error) bool {
	if !apierrors.IsNotFound(err) {
		return false
	}
	if _, unserved := apierrors.StatusCause(err, metav1.CauseTypeUnexpectedServerResponse); !unserved {
		return true
	}
	a.kinds.mu.Lock()
	defer a.kinds.mu.Unlock()
	a.kinds.mapper.Reset() // the next attempt finds where the objects are now
	return false
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
	// Generation counts the changes of what the object is to be, whoever makes them.
	Generation int64
}

// Apply writes an object by server-side apply.
func (a *API) Apply(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, body []byte, o Ownership) (Written, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return Written{}, err
	}
	defer release()
	force := bool(o)
	var code int
	result := a.patch.Patch(types.ApplyPatchType).AbsPath(path(gvr, key)).Body(body).
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
	return Written{Observe(object), code == http.StatusCreated, shared(object), object.GetGeneration()}, nil
}

// Rehearse asks for what Apply does, taking the fields that others own, without anything being done.
func (a *API) Rehearse(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, body []byte) error {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	return a.patch.Patch(types.ApplyPatchType).AbsPath(path(gvr, key)).Body(body).SetHeader("Accept", metadataOnly).
		SpecificallyVersionedParams(&metav1.PatchOptions{
			FieldManager: v1alpha1.FieldManager, Force: new(true), DryRun: []string{metav1.DryRunAll},
		}, metav1.ParameterCodec, metav1.SchemeGroupVersion).
		Do(ctx).Error()
}

// metadataOnly asks for the metadata of an object alone, in the form that is cheapest to read.
const metadataOnly = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// MadeBy says after an apply of which nobody knows how it ended whether an object is there: ours is the uid of one that we
// alone made, and others that somebody else may have been its maker, as far as its metadata tells.
func (a *API) MadeBy(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (ours types.UID, others bool, err error) {
	found, err := a.get(ctx, gvr, key)
	switch {
	case found == nil || err != nil:
		return "", false, err
	case shared(found):
		return "", true, nil
	}
	return found.UID, false, nil
}

// Metadata returns the metadata of an object; nil when there is none.
func (a *API) Metadata(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (metav1.Object, error) {
	found, err := a.get(ctx, gvr, key)
	if found == nil || err != nil {
		return nil, err
	}
	return found, nil
}

// Yield changes our entry in the managedFields of an object, and nothing else of it: fields that change gives up belong to
// nobody from then on, and keep their values.
func (a *API) Yield(
	ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, change func(entry []byte) (after []byte, changed bool, err error),
) (got Written, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		found, err := a.get(ctx, gvr, key)
		switch {
		case err != nil:
			return err
		case found == nil:
			return apierrors.NewNotFound(gvr.GroupResource(), key.Name)
		}
		changed := false
		for i, entry := range found.ManagedFields {
			if !fields.IsOurs(entry) || entry.FieldsV1 == nil {
				continue
			}
			after, did, err := change(entry.FieldsV1.GetRawBytes())
			if err != nil {
				return err
			}
			changed = changed || did
			found.ManagedFields[i].FieldsV1.SetRawBytes(after)
		}
		if changed {
			if found, err = a.patchManagers(ctx, gvr, key, found, nil); err != nil {
				return err
			}
		}
		got = Written{Seen: Observe(found), Shared: shared(found)}
		return nil
	})
	return got, err
}

// noter is the manager of what is noted on an object beside what a package says of it.
const noter = v1alpha1.FieldManager + "-notes"

// patchManagers writes the managedFields of an object as they are in found, and metadata with them.
func (a *API) patchManagers(
	ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, found *metav1.PartialObjectMetadata, metadata map[string]any,
) (*metav1.PartialObjectMetadata, error) {
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["uid"], metadata["resourceVersion"], metadata["managedFields"] = found.UID, found.ResourceVersion, found.ManagedFields
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return nil, err
	}
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return a.at(gvr, key).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: noter})
}

// Rewrite changes whose the fields of an object are, and metadata with them, and nothing else: what change does to the managedFields,
// and the metadata that it returns. Nothing is written when it returns no metadata. It says whether there is an object at all.
func (a *API) Rewrite(
	ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, change func(*metav1.PartialObjectMetadata) (map[string]any, error),
) (there bool, err error) {
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		found, err := a.get(ctx, gvr, key)
		if there = found != nil; err != nil || !there {
			return err
		}
		metadata, err := change(found)
		if err != nil || metadata == nil {
			return err
		}
		_, err = a.patchManagers(ctx, gvr, key, found, metadata)
		return err
	})
	return there, err
}

// get returns the metadata of an object; nil when there is none.
func (a *API) get(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (*metav1.PartialObjectMetadata, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	found, err := a.at(gvr, key).Get(ctx, key.Name, metav1.GetOptions{})
	if a.gone(err) {
		return nil, nil
	}
	return found, err
}

// PackageOf returns which package an object says that it is of, as LabelValue gives it; empty when it is none's, or not there. It is ours
// when the agent has applied it, whatever it says.
func (a *API) PackageOf(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (label string, ours bool, err error) {
	found, err := a.get(ctx, gvr, key)
	if err != nil || found == nil {
		return "", false, err
	}
	return found.Labels[v1alpha1.PackageLabel], slices.ContainsFunc(found.ManagedFields, fields.IsOurs), nil
}

// Delete deletes the object with the uid; it is no error when there is none any more. When another object has its name,
// or the uid is not known because a crash came before it was written down, that object is ours only if it carries the
// package's label, and ours to delete only if nobody else may have made it.
func (a *API) Delete(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, uid types.UID, label string) error {
	if uid != "" {
		if err := a.deleteUID(ctx, gvr, key, uid); !apierrors.IsConflict(err) {
			return err
		}
	}
	found, err := a.get(ctx, gvr, key)
	switch {
	case err != nil:
		return err
	case found == nil, found.Labels[v1alpha1.PackageLabel] != label:
		return nil // gone, or somebody else's
	case shared(found):
		return a.letGo(ctx, gvr, key, found)
	}
	return a.deleteUID(ctx, gvr, key, found.UID)
}

func (a *API) deleteUID(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, uid types.UID) error {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	background := metav1.DeletePropagationBackground
	err = a.at(gvr, key).Delete(ctx, key.Name, metav1.DeleteOptions{
		PropagationPolicy: &background, Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if a.gone(err) {
		return nil
	}
	return err
}

// LetGo takes our hands off the object with the uid, which was there before us: what we alone added goes, everything else
// stays. When the object cannot do without what we added, that stays as well, and belongs to nobody. When another object
// has its name by now, that is treated as Delete does.
func (a *API) LetGo(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, uid types.UID, label string) error {
	found, err := a.get(ctx, gvr, key)
	switch {
	case found == nil || err != nil:
		return err
	case found.UID != uid:
		return a.Delete(ctx, gvr, key, "", label)
	}
	return a.letGo(ctx, gvr, key, found)
}

func (a *API) letGo(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, found *metav1.PartialObjectMetadata) error {
	bare, err := outgoing.Nothing(gvr.GroupVersion().String(), key, found.UID)
	if err != nil {
		return err
	}
	_, err = a.Apply(ctx, gvr, key, bare, TakeOver)
	if apierrors.IsInvalid(err) {
		return a.Disown(ctx, gvr, key, found.UID, found.Labels[v1alpha1.PackageLabel])
	}
	return err
}

// Disown takes our name and what Umbel noted of the object off the one with the uid, and changes nothing else of it: what
// belonged to us belongs to nobody, or to those who shared it. When the uid is not known, the label tells that it is ours.
func (a *API) Disown(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, uid types.UID, label string) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		found, err := a.get(ctx, gvr, key)
		switch {
		case err != nil:
			return err
		case found == nil, uid != "" && found.UID != uid, found.Labels[v1alpha1.PackageLabel] != label:
			return nil // gone, somebody else's, or disowned already
		}
		managers := []metav1.ManagedFieldsEntry{}
		for _, entry := range found.ManagedFields {
			if !fields.IsOurs(entry) {
				managers = append(managers, entry)
			}
		}
		if len(managers) == 0 {
			managers = append(managers, metav1.ManagedFieldsEntry{}) // how the API is told that there are none
		}
		found.ManagedFields = managers
		labels := map[string]any{}
		for _, note := range outgoing.Notes {
			labels[note] = nil
		}
		_, err = a.patchManagers(ctx, gvr, key, found, map[string]any{"labels": labels})
		return err
	})
}

// Version returns the version up to which the member's store has come.
func (a *API) Version(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := a.metadata.Resource(corev1.SchemeGroupVersion.WithResource("namespaces")).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(list.ResourceVersion, 10, 64)
}
