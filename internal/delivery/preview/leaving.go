package preview

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/sealed"
)

// leaving finds the objects of a kind that would be pruned.
func (l *look) leaving(ctx context.Context, groupVersion string, resource metav1.APIResource) error {
	gv, err := schema.ParseGroupVersion(groupVersion)
	if err != nil {
		return err
	}
	in := metav1.ListOptions{LabelSelector: v1alpha1.PackageLabel + "=" + l.key.LabelValue()}
	list, err := l.metadata.Resource(gv.WithResource(resource.Name)).List(ctx, in)
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil // it has gone since, or was never to be listed
	}
	if answered(err) {
		l.unknown("whether %s would be deleted: %v", resource.Name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing %s: %w", resource.Name, err)
	}
	for i := range list.Items {
		item := &list.Items[i]
		at := bundle.Key{Group: gv.Group, Kind: resource.Kind, Namespace: item.Namespace, Name: item.Name}
		if _, held := l.held[at]; held || l.wanted[at] || !isOurs(item.ManagedFields) {
			continue // who copies labels, as an EndpointSlice has them from its Service, is no object of ours
		}
		if err := l.ends(ctx, at, gv.WithResource(resource.Name), item, Held{}); err != nil {
			return err
		}
	}
	return nil
}

// leaves looks what becomes of an object that the member holds.
func (l *look) leaves(ctx context.Context, key bundle.Key, held Held) error {
	if l.wanted[key] {
		return nil
	}
	mapping, err := l.kinds.mapper.RESTMapping(schema.GroupKind{Group: key.Group, Kind: key.Kind})
	if err != nil {
		if why := l.kinds.mute(key.Group); why != nil {
			l.unknown("whether %s would be deleted: %v", key, why)
		}
		return nil // its kind is gone, and it with that
	}
	found, err := l.metadata.Resource(mapping.Resource).Namespace(key.Namespace).Get(ctx, key.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case answered(err):
		l.unknown("whether %s would be deleted: %v", key, err)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", key, err)
	case held.UID != "" && found.UID != held.UID: // another one has its name: it is known by its label, and says nothing
		if found.Labels[v1alpha1.PackageLabel] != l.key.LabelValue() {
			return nil
		}
		held.Adopted = shared(found)
		delete(found.Labels, v1alpha1.OnLeavingLabel)
	case held.Sent == nil && held.UID == "" && !isOurs(found.ManagedFields):
		return nil
	}
	return l.ends(ctx, key, mapping.Resource, found, held)
}

// ends says what becomes of an object of ours that leaves the Package.
func (l *look) ends(ctx context.Context, key bundle.Key, gvr schema.GroupVersionResource, found *metav1.PartialObjectMetadata, held Held) error {
	change := Change{Action: Delete, Object: key.String()}
	fate := outgoing.FateOf(held.Adopted, found.Labels[v1alpha1.OnLeavingLabel])
	if fate == outgoing.Deleted {
		switch {
		case l.whole:
		case !isOurs(found.ManagedFields):
			change.Note = "nothing of it is the package's any more: it stays if somebody has made it anew, or before the package: its agent knows"
		case found.Labels[v1alpha1.OnLeavingLabel] == "" && shared(found):
			change.Note = "it stays, and is let go, if it was there before the package: its agent knows"
		}
		l.add(change)
		return nil
	}
	change.Action = LetGo
	at := l.dynamic.Resource(gvr).Namespace(key.Namespace)
	now, err := at.Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return l.told(change, err, error.Error)
	}
	then := disowned(now)
	if fate == outgoing.LetGo {
		without, err := outgoing.Without(ctx, at, key, now)
		switch {
		case apierrors.IsInvalid(err): // it cannot do without what is ours
		case err != nil:
			return l.told(change, err, sealed.Unquoted)
		default:
			then = without
		}
	}
	if change.Diff, err = Difference(now, then); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	l.add(change)
	return nil
}

// disowned is an object without what Umbel notes on it.
func disowned(now *unstructured.Unstructured) *unstructured.Unstructured {
	then := now.DeepCopy()
	labels := then.GetLabels()
	for _, note := range outgoing.Notes {
		delete(labels, note)
	}
	then.SetLabels(labels)
	return then
}

// shared says whether somebody else has fields of an object, beside its status, or may have had some when it was made: our entry is newer.
func shared(found *metav1.PartialObjectMetadata) bool {
	return slices.ContainsFunc(found.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Subresource == "" && (!fields.IsOurs(entry) || entry.Time != nil && entry.Time.Sub(found.CreationTimestamp.Time) > time.Second)
	})
}

func isOurs(managers []metav1.ManagedFieldsEntry) bool {
	return slices.ContainsFunc(managers, fields.IsOurs)
}
