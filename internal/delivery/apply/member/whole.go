package member

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Whole returns an object with everything that is in it, as JSON; nil when there is none. Only before it is deleted.
func (a *API) Whole(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key) (json.RawMessage, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	answer := a.patch.Get().AbsPath(path(gvr, key)).SetHeader("Accept", "application/json").Do(ctx)
	if err := answer.Error(); a.gone(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	raw, err := answer.Raw()
	if err != nil {
		return nil, err
	}
	var said struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name string    `json:"name"`
			UID  types.UID `json:"uid"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return nil, fmt.Errorf("reading the API server's answer: %w", err)
	}
	if said.Kind != key.Kind || said.Metadata.Name != key.Name || said.Metadata.UID == "" {
		return nil, errors.New("the API server's answer is not the object")
	}
	return raw, nil
}

// keySuffix ends the entries of Secrets that are keys for what comes encrypted.
const keySuffix = ".agekey"

// Keys returns the entries *.agekey of the Secrets of a namespace, by their names. It reads as whoever the API server is asked as.
func (a *API) Keys(ctx context.Context, namespace string) (map[string]map[string][]byte, error) {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	raw, err := a.patch.Get().AbsPath("/api/v1/namespaces/"+namespace+"/secrets").SetHeader("Accept", "application/json").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	var list corev1.SecretList
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, errors.New("the API server's answer is no list of Secrets")
	}
	keys := map[string]map[string][]byte{}
	for _, secret := range list.Items {
		for entry, content := range secret.Data {
			if !strings.HasSuffix(entry, keySuffix) {
				continue
			}
			if keys[secret.Name] == nil {
				keys[secret.Name] = map[string][]byte{}
			}
			keys[secret.Name][entry] = content
		}
	}
	return keys, nil
}

// Why an object cannot come back.
var (
	// ErrThere: another object has its name by now.
	ErrThere = errors.New("it is there again, and is left as it is")
	// ErrGoing: the object that was deleted is not gone yet.
	ErrGoing = errors.New("what was deleted is still going")
)

// Restore makes an object again as it was, with its labels, annotations, owners, and whom its fields belong to. Its status
// is left to those who report it, and it has a new uid, as everything that is made has. It may be repeated: an object
// that is half restored, because a crash came between, is brought to its end. mark is a word for the deletion that the object
// is from; the object carries it until it is whole.
func (a *API) Restore(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, was *unstructured.Unstructured, mark string) (Seen, error) {
	found, err := a.get(ctx, gvr, key)
	if err != nil {
		return Seen{}, err
	}
	switch {
	case found == nil:
		if err := a.create(ctx, gvr, key, was, mark); err != nil {
			return Seen{}, err
		}
	case found.Annotations[v1alpha1.UndoAnnotation] == mark:
	case found.UID == was.GetUID() && found.DeletionTimestamp == nil:
		return Observe(found), nil // it was never deleted
	case found.DeletionTimestamp == nil && slices.EqualFunc(managersOf(found), managersOf(was), sameManager):
		return Observe(found), nil // it is back already: nothing that was made anew has managers that are older than it is
	case found.DeletionTimestamp != nil:
		return Seen{}, ErrGoing
	default:
		return Seen{}, ErrThere
	}
	var seen Seen
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() (err error) {
		seen, err = a.finish(ctx, gvr, key, was, mark)
		return err
	})
	return seen, err
}

// create makes the object with our mark on it.
func (a *API) create(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, was *unstructured.Unstructured, mark string) error {
	body := anew(was)
	annotations := body.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.UndoAnnotation] = mark
	body.SetAnnotations(annotations)
	err := a.post(ctx, gvr, key, body)
	if apierrors.IsInvalid(err) && key.Group == "" && key.Kind == "Service" {
		free(body) // its address has another Service by now
		err = a.post(ctx, gvr, key, body)
	}
	if apierrors.IsAlreadyExists(err) {
		return ErrThere
	}
	return err
}

func (a *API) post(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, body *unstructured.Unstructured) error {
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	raw, err := body.MarshalJSON()
	if err != nil {
		return err
	}
	return a.patch.Post().AbsPath(strings.TrimSuffix(path(gvr, key), "/"+key.Name)).Body(raw).
		SetHeader("Content-Type", "application/json").SetHeader("Accept", metadataOnly).
		SpecificallyVersionedParams(&metav1.CreateOptions{FieldManager: v1alpha1.FieldManager}, metav1.ParameterCodec, metav1.SchemeGroupVersion).
		Do(ctx).Error()
}

// finish takes our mark off the object, and gives its fields back to those to whom they belonged.
func (a *API) finish(ctx context.Context, gvr schema.GroupVersionResource, key bundle.Key, was *unstructured.Unstructured, mark string) (Seen, error) {
	found, err := a.get(ctx, gvr, key)
	if err != nil {
		return Seen{}, err
	}
	if found == nil || found.Annotations[v1alpha1.UndoAnnotation] != mark {
		return Seen{}, ErrThere // somebody was quicker
	}
	metadata := map[string]any{
		"uid": found.UID, "resourceVersion": found.ResourceVersion,
		"annotations": map[string]any{v1alpha1.UndoAnnotation: nil},
	}
	if managers := managersOf(was); len(managers) > 0 {
		metadata["managedFields"] = managers
	}
	patch, err := json.Marshal(map[string]any{"metadata": metadata})
	if err != nil {
		return Seen{}, err
	}
	ctx, release, err := a.acquire(ctx)
	if err != nil {
		return Seen{}, err
	}
	defer release()
	written, err := a.at(gvr, key).Patch(ctx, key.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: v1alpha1.FieldManager})
	if err != nil {
		return Seen{}, err
	}
	return Observe(written), nil
}

// managersOf returns whose the fields of an object are, in a fixed order. What is reported of it, in a subresource, is
// reported anew.
func managersOf(o metav1.Object) []metav1.ManagedFieldsEntry {
	managers := slices.DeleteFunc(slices.Clone(o.GetManagedFields()), func(m metav1.ManagedFieldsEntry) bool { return m.Subresource != "" })
	slices.SortFunc(managers, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(strings.Compare(a.Manager, b.Manager), strings.Compare(string(a.Operation), string(b.Operation)), strings.Compare(a.APIVersion, b.APIVersion))
	})
	return managers
}

func sameManager(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && entryHash(a) == entryHash(b)
}

// anew returns the object without what the server, or a controller, gave to the one that is gone.
func anew(was *unstructured.Unstructured) *unstructured.Unstructured {
	o := was.DeepCopy()
	for _, field := range []string{
		"uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields",
	} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	switch o.GroupVersionKind().GroupKind() {
	case schema.GroupKind{Kind: "Pod"}:
		unstructured.RemoveNestedField(o.Object, "spec", "nodeName")
	case schema.GroupKind{Kind: "PersistentVolumeClaim"}:
		annotations := o.GetAnnotations() // it is bound anew, or waits for a person where its volume belongs to the claim before
		delete(annotations, "pv.kubernetes.io/bind-completed")
		delete(annotations, "pv.kubernetes.io/bound-by-controller")
		o.SetAnnotations(annotations)
	case schema.GroupKind{Group: "batch", Kind: "Job"}:
		if manual, _, _ := unstructured.NestedBool(o.Object, "spec", "manualSelector"); !manual {
			unstructured.RemoveNestedField(o.Object, "spec", "selector") // it names the uid of the one before
			for _, label := range []string{"controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name"} {
				unstructured.RemoveNestedField(o.Object, "metadata", "labels", label)
				unstructured.RemoveNestedField(o.Object, "spec", "template", "metadata", "labels", label)
			}
		}
	}
	return o
}

// free takes the addresses and ports out of a Service that the server gave it.
func free(o *unstructured.Unstructured) {
	for _, field := range []string{"clusterIP", "clusterIPs", "healthCheckNodePort"} {
		unstructured.RemoveNestedField(o.Object, "spec", field)
	}
	ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
	for _, port := range ports {
		if p, ok := port.(map[string]any); ok {
			delete(p, "nodePort")
		}
	}
	if len(ports) > 0 {
		_ = unstructured.SetNestedSlice(o.Object, ports, "spec", "ports") // it came from there
	}
}

// Owner returns the uid of an object that others name as their owner; empty when there is none.
func (a *API) Owner(ctx context.Context, namespace string, ref metav1.OwnerReference) (types.UID, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return "", err
	}
	gvr, served, err := a.Locate(schema.GroupKind{Group: gv.Group, Kind: ref.Kind})
	if err != nil || !served {
		return "", err
	}
	_, scope, err := a.Resolve(gvr.GroupVersion().WithKind(ref.Kind))
	if err != nil {
		return "", err
	}
	key := bundle.Key{Group: gv.Group, Kind: ref.Kind, Name: ref.Name}
	if scope == meta.RESTScopeNameNamespace {
		key.Namespace = namespace
	}
	found, err := a.get(ctx, gvr, key)
	if err != nil || found == nil {
		return "", err
	}
	return found.UID, nil
}
