package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/cli/adopt/member"
)

// fields is an object, or a part of one, as JSON has it.
type fields map[string]any

// text returns the text of a field; empty when there is none.
func (f fields) text(name string) string {
	text, _ := f[name].(string)
	return text
}

// is says whether a field is true.
func (f fields) is(name string) bool {
	value, _ := f[name].(bool)
	return value
}

// in returns what is below a field; nothing when there is nothing.
func (f fields) in(names ...string) fields {
	for _, name := range names {
		below, _ := f[name].(map[string]any)
		f = below
	}
	return f
}

// list returns the parts below a field that is a list of objects.
func (f fields) list(name string) (all []fields) {
	items, _ := f[name].([]any)
	for _, item := range items {
		if below, ok := item.(map[string]any); ok {
			all = append(all, below)
		}
	}
	return all
}

// texts returns a field that is a list of texts.
func (f fields) texts(name string) (all []string) {
	items, _ := f[name].([]any)
	for _, item := range items {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// empty says whether a field is not there, or says nothing.
func (f fields) empty(name string) bool {
	switch value := f[name].(type) {
	case nil:
		return true
	case string:
		return value == ""
	case bool:
		return !value
	case []any:
		return len(value) == 0
	case map[string]any:
		return len(value) == 0
	}
	return false
}

// knows notes every field that is none of the known ones: Umbel has no word for it, or none is known.
func (m *Managed) knows(f fields, at string, known ...string) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(known, name) && !f.empty(name) {
			m.lack("%s.%s", at, name)
		}
	}
}

// overlay is a kustomization that says what the other says beside its source, to be put into the repository.
type overlay struct {
	because []string // the fields
	says    map[string]any
}

// take has the overlay say what a field says, under the name that kustomize has for it.
func (o *overlay) take(f fields, at, name, as string) {
	if f.empty(name) {
		return
	}
	o.set(at+"."+name, as, f[name])
}

func (o *overlay) set(because, as string, value any) {
	if o.says == nil {
		o.says = map[string]any{}
	}
	o.because = append(o.because, because)
	o.says[as] = value
}

// lacks notes that the overlay is needed, unless another path says that it is there.
func (o *overlay) lacks(m *Managed, folder string) {
	if len(o.because) == 0 {
		return
	}
	base := folder[strings.LastIndex(folder, "/")+1:]
	o.says["resources"] = []string{"../" + base}
	text, err := yaml.Marshal(o.says)
	if err != nil {
		text = []byte(err.Error())
	}
	m.lack("%s: what is said there belongs into the repository. Put this kustomization.yaml into a folder beside %s, and name the folder with --path:\n%s",
		strings.Join(o.because, ", "), folder, strings.TrimSpace(string(text)))
}

// clean is a path as Umbel writes it.
func clean(folder string) string {
	if folder = strings.Trim(strings.TrimPrefix(folder, "./"), "/"); folder == "" {
		return "."
	}
	return folder
}

// get reads an object by which another one is told what to do.
func get(ctx context.Context, c *member.Cluster, gvr schema.GroupVersionResource, namespace, name string) (*unstructured.Unstructured, error) {
	o, err := c.Resource(gvr).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return nil, fmt.Errorf("there are no %s in version %s: what is to be taken over is not installed there, or is another version", gvr.GroupResource(), gvr.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", gvr.GroupResource(), namespace, name, err)
	}
	return o, nil
}

// merge changes fields of such an object.
func merge(ctx context.Context, c *member.Cluster, gvr schema.GroupVersionResource, at Ref, change map[string]any) error {
	raw, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.Resource(gvr).Namespace(at.Namespace).Patch(ctx, at.Name, types.MergePatchType, raw, metav1.PatchOptions{FieldManager: "umbel-adopt"})
	if err != nil {
		return fmt.Errorf("changing %s %s/%s: %w", gvr.GroupResource(), at.Namespace, at.Name, err)
	}
	return nil
}

// patience is how long one that was stopped may take to end what it is at.
const patience = time.Minute

// rests waits until an object says that nothing is under way; one that is gone is at rest.
func rests(ctx context.Context, c *member.Cluster, gvr schema.GroupVersionResource, at Ref, busy func(*unstructured.Unstructured) string) error {
	return settles(ctx, fmt.Sprintf("%s %s/%s", gvr.GroupResource(), at.Namespace, at.Name), func(ctx context.Context) (string, error) {
		o, err := c.Resource(gvr).Namespace(at.Namespace).Get(ctx, at.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return busy(o), nil
	})
}

// settles waits until nothing is said that it waits for.
func settles(ctx context.Context, what string, look func(context.Context) (waits string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		waits, err := look(ctx)
		if err == nil && waits == "" {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil {
			last = waits
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s was stopped, and is not at rest within %s: %s", what, patience, last)
		case <-tick.C:
		}
	}
}
