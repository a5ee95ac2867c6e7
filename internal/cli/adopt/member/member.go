package member

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
	"umbel.dev/umbel/internal/delivery/preview"
)

// inFlight is how many requests are under way at a time, and page how many objects are listed at a time.
const (
	inFlight = 8
	page     = 500
)

// Cluster is the API server of a member.
type Cluster struct {
	dynamic.Interface
	config   *rest.Config
	metadata metadata.Interface
	api      *member.API
}

// Open returns the API server that config reaches. It asks nothing of it yet.
func Open(config *rest.Config) (*Cluster, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{} // every kind is listed, deprecated ones too
	config.QPS = -1
	c := &Cluster{config: config}
	var err error
	if c.Interface, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if c.metadata, err = metadata.NewForConfig(metadata.ConfigFor(config)); err != nil {
		return nil, err
	}
	c.api, err = member.New(config)
	return c, err
}

// Seen is what the API server says of an object that Umbel would apply.
type Seen struct {
	Key  bundle.Key
	File string
	// Missing: there is none.
	Missing bool
	// Package is the value of Umbel's label on it; empty when it has none.
	Package string
	// Now is how it is, and Then how it would be.
	Now, Then *unstructured.Unstructured
	// Problem says why it cannot be told.
	Problem string
}

// How is how objects are taken over: from whom, and by which rules for what is left to others.
type How struct {
	From  []owner.Manager
	Rules outgoing.Rules
}

// Look asks what would become of each of the objects.
func (c *Cluster) Look(ctx context.Context, objects []outgoing.Object, how How) ([]Seen, error) {
	seen := make([]Seen, len(objects))
	return seen, each(objects, func(i int, o outgoing.Object) (err error) {
		seen[i], err = c.look(ctx, o, how)
		return err
	})
}

func each[T any](of []T, do func(int, T) error) error {
	var group errgroup.Group
	group.SetLimit(inFlight)
	for i, one := range of {
		group.Go(func() error { return do(i, one) })
	}
	return group.Wait()
}

// KeyOf returns who an object is on the cluster, with the namespace that it is put into, and where it is reached.
func (c *Cluster) KeyOf(id bundle.ID) (bundle.Key, schema.GroupVersionResource, error) {
	key := id.Key()
	gvr, scope, err := c.api.Resolve(schema.FromAPIVersionAndKind(id.APIVersion, id.Kind))
	if err != nil {
		return key, gvr, err
	}
	key.Namespace = ""
	if scope == meta.RESTScopeNameNamespace {
		key.Namespace = cmp.Or(id.Namespace, metav1.NamespaceDefault)
	}
	return key, gvr, nil
}

func (c *Cluster) look(ctx context.Context, o outgoing.Object, how How) (Seen, error) {
	key, gvr, err := c.KeyOf(o.ID)
	s := Seen{Key: key, File: o.File}
	if meta.IsNoMatchError(err) {
		s.Missing, s.Problem = true, fmt.Sprintf("the cluster has no kind %s in %s", o.ID.Kind, o.ID.APIVersion)
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", key, err)
	}
	at := c.at(gvr, key)
	s.Now, err = at.Get(ctx, key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.Missing = true
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", key, err)
	}
	s.Package = s.Now.GetLabels()[v1alpha1.PackageLabel]
	body, wrong := o.Against(s.Now, how.Rules.Left(key, o.Asks))
	if wrong != nil {
		s.Problem = wrong.Error()
		return s, nil
	}
	s.Then, err = o.Rehearse(ctx, at, body, func(conflict error) bool {
		// Where it differs from what the other applied, what would change says more than whose it is.
		return outgoing.MayRetake(conflict, s.Now.GetManagedFields()) || conflictsWith(conflict, how.From)
	})
	if status, is := errors.AsType[*apierrors.StatusError](err); is && status.ErrStatus.Code < http.StatusInternalServerError {
		s.Problem, err = explain(o, err), nil
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w", key, err)
	}
	return s, nil
}

// Foresee says what a content would change, as its agent finds it before it writes.
func (c *Cluster) Foresee(ctx context.Context, content *preview.Content) (*preview.Preview, error) {
	looks, err := preview.Open(c.config)
	if err != nil {
		return nil, err
	}
	return looks.Of(ctx, content)
}

// conflictsWith says whether an error is a conflict with the managers, and with nobody else.
func conflictsWith(err error, managers []owner.Manager) bool {
	status, is := errors.AsType[*apierrors.StatusError](err)
	if !is || !apierrors.IsConflict(err) || status.ErrStatus.Details == nil || len(status.ErrStatus.Details.Causes) == 0 {
		return false
	}
	for _, cause := range status.ErrStatus.Details.Causes {
		with := func(m owner.Manager) bool { return strings.Contains(cause.Message, strconv.Quote(m.Name)) }
		if cause.Type != metav1.CauseTypeFieldManagerConflict || !slices.ContainsFunc(managers, with) {
			return false
		}
	}
	return true
}

// explain says why the API server would refuse an object. Of a Secret, or of one that came encrypted, it may quote what the cluster has.
func explain(o outgoing.Object, err error) string {
	if o.Sealed || o.ID.Secret() {
		return member.ExplainUnquoted(err)
	}
	return member.Explain(err)
}

func (c *Cluster) at(gvr schema.GroupVersionResource, key bundle.Key) dynamic.ResourceInterface {
	if key.Namespace == "" {
		return c.Resource(gvr)
	}
	return c.Resource(gvr).Namespace(key.Namespace)
}

// Found is the metadata of an object on the cluster.
type Found struct {
	Key bundle.Key
	GVR schema.GroupVersionResource
	metav1.PartialObjectMetadata
}

// Everything returns the metadata of all objects, of every kind that can be listed and changed, in a namespace (empty: in all, and those
// of the whole cluster) and with labels. That a kind could not be listed is an error: what is not known is not nothing.
func (c *Cluster) Everything(ctx context.Context, namespace, labels string) ([]Found, error) {
	asked, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	lists, err := asked.ServerPreferredResources()
	if err != nil {
		return nil, fmt.Errorf("asking which kinds there are: %w", err)
	}
	var kinds []kind
	for _, list := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "patch", "delete"}}, lists) {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, err
		}
		for _, resource := range list.APIResources {
			if namespace == "" || resource.Namespaced {
				kinds = append(kinds, kind{gv.WithResource(resource.Name), resource.Kind})
			}
		}
	}
	var mu sync.Mutex
	var all []Found
	err = each(kinds, func(_ int, k kind) error {
		found, err := c.list(ctx, k, namespace, labels)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, found...)
		return err
	})
	slices.SortFunc(all, func(a, b Found) int { return a.Key.Compare(b.Key) })
	return all, err
}

type kind struct {
	gvr  schema.GroupVersionResource
	name string
}

func (c *Cluster) list(ctx context.Context, k kind, namespace, labels string) (found []Found, err error) {
	options := metav1.ListOptions{LabelSelector: labels, Limit: page}
	for {
		list, err := c.metadata.Resource(k.gvr).Namespace(namespace).List(ctx, options)
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			return nil, nil // it has gone since, or was never to be listed
		}
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", k.gvr.GroupResource(), err)
		}
		for _, item := range list.Items {
			key := bundle.Key{Group: k.gvr.Group, Kind: k.name, Namespace: item.Namespace, Name: item.Name}
			found = append(found, Found{key, k.gvr, item})
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return found, nil
		}
	}
}

// stays are annotations by which objects say to others that these do not delete them.
var stays = map[string]string{
	"kustomize.toolkit.fluxcd.io/prune":       "disabled",
	"client.lifecycle.config.k8s.io/deletion": "detach",
	"helm.sh/resource-policy":                 "keep",
}

// staysBy says by which annotation an object says that it is not to be deleted; empty when it does not.
func staysBy(annotations map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(stays)) {
		if annotations[name] == stays[name] {
			return name
		}
	}
	const argo = "argocd.argoproj.io/sync-options"
	for option := range strings.SplitSeq(annotations[argo], ",") {
		if option := strings.TrimSpace(option); option == "Prune=false" || option == "Delete=false" {
			return argo
		}
	}
	return ""
}

// TakeOver gives the objects, which the agent has applied, to Umbel alone: the entries of the managers go, and each is told that it
// leaves with its package, unless it says already that it does not. It may be repeated. It returns how many were written.
func (c *Cluster) TakeOver(ctx context.Context, keys []bundle.Key, from []owner.Manager) (written int, err error) {
	return c.rewrite(ctx, keys, func(found *metav1.PartialObjectMetadata) (map[string]any, error) {
		if _, done := found.Labels[v1alpha1.AdoptedFromLabel]; done && !owner.Has(found.ManagedFields, from) {
			return nil, nil
		}
		left, had, err := owner.Take(found.ManagedFields, from)
		if err != nil {
			return nil, err
		}
		labels := map[string]any{v1alpha1.AdoptedFromLabel: owner.Note(had)}
		if found.Labels[v1alpha1.OnLeavingLabel] == "" {
			labels[v1alpha1.OnLeavingLabel] = v1alpha1.LeavingDelete
			if staysBy(found.Annotations) != "" {
				labels[v1alpha1.OnLeavingLabel] = v1alpha1.LeavingKeep
			}
		}
		found.ManagedFields = left
		return map[string]any{"labels": labels}, nil
	})
}

// GiveBack gives the fields of objects back to whom they belonged, shared with Umbel as long as it holds them, and tells each that it
// stays when it leaves its package. What Umbel made itself is given to the first of the managers. It may be repeated.
func (c *Cluster) GiveBack(ctx context.Context, keys []bundle.Key, to []owner.Manager, now metav1.Time) (written int, err error) {
	return c.rewrite(ctx, keys, func(found *metav1.PartialObjectMetadata) (map[string]any, error) {
		note, adopted := found.Labels[v1alpha1.AdoptedFromLabel]
		if !adopted && found.Labels[v1alpha1.OnLeavingLabel] == v1alpha1.LeavingKeep {
			return nil, nil
		}
		var back []owner.Manager
		if adopted {
			back = owner.Noted(note, to)
		} else if !owner.Has(found.ManagedFields, to) && len(to) > 0 {
			back = to[:1]
		}
		given, err := owner.GiveBack(found, back, now)
		if err != nil {
			return nil, err
		}
		found.ManagedFields = given
		return map[string]any{"labels": map[string]any{v1alpha1.AdoptedFromLabel: nil, v1alpha1.OnLeavingLabel: v1alpha1.LeavingKeep}}, nil
	})
}

// Disown takes Umbel's name and notes off objects that no agent holds.
func (c *Cluster) Disown(ctx context.Context, found []Found) error {
	return each(found, func(_ int, f Found) error {
		if err := c.api.Disown(ctx, f.GVR, f.Key, f.UID, f.Labels[v1alpha1.PackageLabel]); err != nil {
			return fmt.Errorf("%s: %w", f.Key, err)
		}
		return nil
	})
}

func (c *Cluster) rewrite(ctx context.Context, keys []bundle.Key, change func(*metav1.PartialObjectMetadata) (map[string]any, error)) (written int, err error) {
	var mu sync.Mutex
	err = each(keys, func(_ int, key bundle.Key) error {
		gvr, served, err := c.api.Locate(schema.GroupKind{Group: key.Group, Kind: key.Kind})
		if err != nil || !served {
			return cmp.Or(err, fmt.Errorf("%s: the cluster does not have this kind any more", key))
		}
		wrote := false
		there, err := c.api.Rewrite(ctx, gvr, key, func(found *metav1.PartialObjectMetadata) (map[string]any, error) {
			metadata, err := change(found)
			wrote = metadata != nil
			return metadata, err
		})
		if err == nil && !there {
			err = errors.New("it is not there")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if wrote {
			mu.Lock()
			defer mu.Unlock()
			written++
		}
		return nil
	})
	return written, err
}

// Ours are those of the objects that Umbel's agent applied.
func Ours(all []Found) []Found {
	return slices.DeleteFunc(slices.Clone(all), func(f Found) bool { return !slices.ContainsFunc(f.ManagedFields, fields.IsOurs) })
}

// Keys are who objects are.
func Keys(all []Found) []bundle.Key {
	keys := make([]bundle.Key, len(all))
	for i, f := range all {
		keys[i] = f.Key
	}
	return keys
}
