package backup

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
)

// Archive is one that was read to its end and verified.
type Archive struct {
	Manifest
	// Objects in the order in which they are restored.
	Objects []*unstructured.Unstructured
	// Files by their paths in the hub's folder, and content by its part's name.
	Files map[string][]byte
	blobs map[string][]byte
}

// Open reads an archive.
func Open(from io.Reader) (*Archive, error) {
	a := &Archive{Files: map[string][]byte{}, blobs: map[string][]byte{}}
	var err error
	a.Manifest, err = Read(from, func(part Part, raw []byte) error {
		switch {
		case part.Name == objectsName:
			return a.parse(raw)
		case strings.HasPrefix(part.Name, filePrefix):
			a.Files[strings.TrimPrefix(part.Name, filePrefix)] = raw
		case strings.HasPrefix(part.Name, blobPrefix):
			a.blobs[part.Name] = raw
		default:
			return fmt.Errorf("%w: %.80q is no part of a backup", ErrDamaged, part.Name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	Sort(a.Objects)
	return a, nil
}

func (a *Archive) parse(raw []byte) error {
	lines := bufio.NewReader(bytes.NewReader(raw))
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		o := &unstructured.Unstructured{}
		if err := json.Unmarshal(line, o); err != nil || o.GetName() == "" {
			return fmt.Errorf("%w: line %d of %s is no object", ErrDamaged, n, objectsName)
		}
		a.Objects = append(a.Objects, o)
	}
}

// Target is where a hub is restored.
type Target struct {
	// Config reaches an API that serves our kinds, with the rights of an administrator.
	Config *rest.Config
	Mapper meta.RESTMapper
	// Now is the clock.
	Now func() time.Time
	// Push stores content. It is nil where that is not the hub's.
	Push func(ctx context.Context, repository string, raw []byte) error
}

// errThere: a hub is there, or has been.
var errThere = errors.New("a hub is there already, and a restore overwrites nothing: choose another data folder, or another Kubernetes")

// Restore makes the hub of an archive in an API where there is none. Run again after it was interrupted it carries on.
func (a *Archive) Restore(ctx context.Context, target Target) error {
	client, err := dynamic.NewForConfig(target.Config)
	if err != nil {
		return err
	}
	r := &restore{Archive: a, target: target, client: client, uids: map[types.UID]types.UID{}}
	if err := r.guard(ctx); err != nil {
		return err
	}
	for _, o := range a.Objects {
		if err := r.create(ctx, o); err != nil {
			return fmt.Errorf("restoring %s %s: %w", o.GetKind(), title(o), err)
		}
	}
	for name, raw := range a.blobs {
		repository, digest := blobOf(name)
		if target.Push == nil {
			break
		}
		if err := target.Push(ctx, repository, raw); err != nil {
			return fmt.Errorf("restoring content %s: %w", digest, err)
		}
	}
	for _, o := range a.Objects {
		if err := r.end(ctx, o); err != nil {
			return fmt.Errorf("deleting %s %s, which was being deleted: %w", o.GetKind(), title(o), err)
		}
	}
	if err := r.advance(ctx); err != nil {
		return fmt.Errorf("marking the hub as the one that was restored last: %w", err)
	}
	err = r.client.Resource(configmaps).Namespace(v1alpha1.SystemNamespace).Delete(ctx, Guard, metav1.DeleteOptions{})
	if err != nil {
		return fmt.Errorf("taking away the guard (configmap %s/%s): %w", v1alpha1.SystemNamespace, Guard, err)
	}
	return nil
}

// restore is one run of it.
type restore struct {
	*Archive
	target Target
	client dynamic.Interface
	uids   map[types.UID]types.UID // of the backup, to those of the API
}

// guard makes sure that the API has nothing of a hub but what an earlier run of this restore left.
func (r *restore) guard(ctx context.Context) error {
	guards := r.client.Resource(configmaps).Namespace(v1alpha1.SystemNamespace)
	guard, err := guards.Get(ctx, Guard, metav1.GetOptions{})
	if err == nil {
		id, _, _ := unstructured.NestedString(guard.Object, "data", guardID)
		if id != r.ID {
			return fmt.Errorf("another backup (%s) was being restored here: run that restore again", id)
		}
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("looking for an earlier restore: %w", err)
	}
	if err := r.empty(ctx); err != nil {
		return err
	}
	guard = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": Guard},
		"data": map[string]any{guardID: r.ID},
	}}
	if _, err := guards.Create(ctx, guard, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("noting that a restore has begun: %w", err)
	}
	return nil
}

func (r *restore) empty(ctx context.Context) error {
	kinds, err := ourKinds(r.target.Config)
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		list, err := r.client.Resource(kind).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil {
			return fmt.Errorf("looking for %s: %w", kind.Resource, err)
		}
		if len(list.Items) > 0 {
			return fmt.Errorf("%w (found %s %s)", errThere, list.Items[0].GetKind(), title(&list.Items[0]))
		}
	}
	for _, o := range r.Objects {
		if o.GetKind() != "Secret" || o.GetNamespace() != v1alpha1.SystemNamespace {
			continue
		}
		_, err := r.client.Resource(secrets).Namespace(o.GetNamespace()).Get(ctx, o.GetName(), metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("%w (found secret %s)", errThere, title(o))
		}
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("looking for secret %s: %w", title(o), err)
		}
	}
	return nil
}

// create makes one object, unless an earlier run has, and writes its status.
func (r *restore) create(ctx context.Context, o *unstructured.Unstructured) error {
	resource, err := r.resource(o)
	if err != nil {
		return err
	}
	made, err := resource.Create(ctx, Restored(o, r.uids, r.Time.Format(time.RFC3339)), metav1.CreateOptions{FieldManager: "umbel-restore"})
	if apierrors.IsAlreadyExists(err) {
		if made, err = resource.Get(ctx, o.GetName(), metav1.GetOptions{}); err == nil && o.GetKind() == "Namespace" {
			made, err = r.label(ctx, resource, o)
		}
	}
	if err != nil {
		return err
	}
	r.uids[o.GetUID()] = made.GetUID()
	status, has := Status(o, made.GetGeneration())
	if !has || o.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
		return nil
	}
	made.Object["status"] = status
	_, err = resource.UpdateStatus(ctx, made, metav1.UpdateOptions{FieldManager: "umbel-restore"})
	return err
}

// label gives a Namespace that is there already the labels and annotations that it had.
func (r *restore) label(ctx context.Context, resource dynamic.ResourceInterface, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": o.GetLabels(), "annotations": o.GetAnnotations()}})
	if err != nil {
		return nil, err
	}
	return resource.Patch(ctx, o.GetName(), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "umbel-restore"})
}

// end deletes what was being deleted when the backup was made. Its finalizers have it wait, as before.
func (r *restore) end(ctx context.Context, o *unstructured.Unstructured) error {
	if o.GetDeletionTimestamp() == nil || o.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
		return nil
	}
	resource, err := r.resource(o)
	if err != nil {
		return err
	}
	err = resource.Delete(ctx, o.GetName(), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func (r *restore) resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	gvk := o.GroupVersionKind()
	mapping, err := r.target.Mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("this umbel does not know its kind: %w", err)
	}
	return r.client.Resource(mapping.Resource).Namespace(o.GetNamespace()), nil
}

func title(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetName()
	}
	return o.GetNamespace() + "/" + o.GetName()
}

func isAbsent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
