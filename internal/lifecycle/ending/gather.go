package ending

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	group        = "cluster.x-k8s.io"
	clusterLabel = group + "/cluster-name"
)

// Cluster names a Cluster, and the kinds that its parts may have.
type Cluster struct {
	Key   client.ObjectKey
	kinds []schema.GroupVersionKind
}

// Parts are what a Cluster is made of.
type Parts struct {
	// All begins with the Cluster itself, if that is there.
	All []unstructured.Unstructured
	// Unread are kinds that could not be read, and why.
	Unread []string
}

// Root returns the Cluster, nil when it is gone.
func (p Parts) Root() *unstructured.Unstructured {
	if len(p.All) > 0 && p.All[0].GetKind() == "Cluster" && p.All[0].GroupVersionKind().Group == group {
		return &p.All[0]
	}
	return nil
}

// Of returns a Cluster with the kinds that Cluster API, and its providers, have on the hub.
func Of(ctx context.Context, hub client.Reader, key client.ObjectKey) (Cluster, error) {
	c := Cluster{Key: key}
	crds := &unstructured.UnstructuredList{}
	crds.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinitionList"})
	if err := hub.List(ctx, crds); err != nil {
		return c, fmt.Errorf("looking for the kinds that clusters are made of: %w", err)
	}
	for _, crd := range crds.Items {
		if kind, is := kindOf(&crd); is {
			c.kinds = append(c.kinds, kind)
		}
	}
	return c, nil
}

// kindOf returns the kind of a CustomResourceDefinition in the version that is stored, which nobody has to convert: who would may be
// gone. It says whether clusters may be made of it.
func kindOf(crd *unstructured.Unstructured) (schema.GroupVersionKind, bool) {
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(crd.Object, path...)
		return s
	}
	of := text("spec", "group")
	ours := of == group || strings.HasSuffix(of, "."+group)
	for label := range crd.GetLabels() {
		ours = ours || strings.HasPrefix(label, group+"/v") // a contract that it keeps
	}
	stored, _, _ := unstructured.NestedStringSlice(crd.Object, "status", "storedVersions")
	if !ours || len(stored) == 0 || text("spec", "scope") != "Namespaced" {
		return schema.GroupVersionKind{}, false
	}
	return schema.GroupVersionKind{Group: of, Version: stored[len(stored)-1], Kind: text("spec", "names", "kind")}, true
}

// atOnce is how many kinds are read at a time: for each the API makes sure that what it knows is the newest, which takes a moment.
const atOnce = 8

// Gather returns a Cluster and its parts. It is no error when a kind cannot be read, nor when the Cluster is gone.
func (c Cluster) Gather(ctx context.Context, hub client.Reader) (Parts, error) {
	found, errs := make([][]unstructured.Unstructured, len(c.kinds)), make([]error, len(c.kinds))
	var reading errgroup.Group
	reading.SetLimit(atOnce)
	for i := range c.kinds {
		reading.Go(func() error {
			found[i], errs[i] = c.read(ctx, hub, c.kinds[i])
			return nil // what of it matters is decided below
		})
	}
	_ = reading.Wait()
	var parts Parts
	for i, kind := range c.kinds {
		switch {
		case errs[i] != nil && (self(kind) || ctx.Err() != nil):
			return parts, fmt.Errorf("reading cluster %s: %w", c.Key.Name, errs[i])
		case errs[i] != nil:
			parts.Unread = append(parts.Unread, fmt.Sprintf("%s.%s: %v", kind.Kind, kind.Group, errs[i]))
		case self(kind):
			parts.All = append(found[i], parts.All...)
		default:
			parts.All = append(parts.All, found[i]...)
		}
	}
	slices.Sort(parts.Unread)
	return parts, nil
}

// self says whether a kind is that of the Cluster itself.
func self(kind schema.GroupVersionKind) bool { return kind.Group == group && kind.Kind == "Cluster" }

// read returns what there is of a kind.
func (c Cluster) read(ctx context.Context, hub client.Reader, kind schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
	of := client.ListOption(client.MatchingLabels{clusterLabel: c.Key.Name})
	if self(kind) {
		of = client.MatchingFields{"metadata.name": c.Key.Name}
	}
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err := hub.List(ctx, all, client.InNamespace(c.Key.Namespace), of)
	return all.Items, err
}
