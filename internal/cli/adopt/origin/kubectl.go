package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/adopt/member"
	"umbel.dev/umbel/internal/cli/adopt/owner"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// kubectl is people and scripts that run `kubectl apply`. Nothing runs that could be stopped, and nothing lists what they applied:
// the objects themselves say it.
type kubectl struct{ ref Ref }

// kubectlManagers are the names under which `kubectl apply` writes, on the client's side or on the server's.
var kubectlManagers = []owner.Manager{
	{Name: "kubectl-client-side-apply", Operation: metav1.ManagedFieldsOperationUpdate},
	{Name: "kubectl", Operation: metav1.ManagedFieldsOperationApply},
}

// String implements Origin.
func (k kubectl) String() string {
	text := "what `kubectl apply` put into "
	if k.ref.Namespace == "" {
		text += "every namespace"
	} else {
		text += "namespace " + k.ref.Namespace
	}
	if k.ref.Labels != "" {
		text += " with labels " + k.ref.Labels
	}
	return text
}

// Read implements Origin.
func (k kubectl) Read(ctx context.Context, c *member.Cluster) (*Managed, error) {
	all, err := c.Everything(ctx, k.ref.Namespace, k.ref.Labels)
	if err != nil {
		return nil, err
	}
	m := &Managed{Managers: kubectlManagers, Was: json.RawMessage("{}")}
	secrets, without := 0, 0
	for _, found := range all {
		if !owner.Has(found.ManagedFields, kubectlManagers) || metav1.GetControllerOfNoCopy(&found) != nil {
			continue
		}
		m.Objects = append(m.Objects, found.Key)
		switch applied := found.Annotations[corev1.LastAppliedConfigAnnotation]; {
		case found.Key.Kind == "Secret" && found.Key.Group == "":
			secrets++
		case applied == "":
			without++
		case !isOf(applied, found.Key):
			m.lack("%s: its annotation %s speaks of another object, so nobody knows what was applied", found.Key, corev1.LastAppliedConfigAnnotation)
		default:
			manifest, err := asWritten(applied)
			if err != nil {
				return nil, fmt.Errorf("%s: what was applied cannot be read: %w", found.Key, err)
			}
			m.Manifests = append(m.Manifests, manifest)
		}
	}
	if len(m.Objects) == 0 {
		return nil, fmt.Errorf("there is nothing that `kubectl apply` put there: -n, -A and -l say where to look")
	}
	if secrets > 0 {
		m.note("Secrets are not written into manifests (%d): keep them where they are, or put them encrypted into the repository", secrets)
	}
	if without > 0 {
		m.note("%s applied on the server's side and %s not say from which manifest: the repository has to have what was applied so (--git)",
			v1alpha1.Counted(without, "object")+v1alpha1.Agreeing(without, " was", " were"), v1alpha1.Agreeing(without, "does", "do"))
	}
	return m, nil
}

// asWritten is a manifest without the empty annotations that kubectl adds to each: whoever applied them, and then leaves them out, would
// take away all that others noted on the object.
func asWritten(applied string) (json.RawMessage, error) {
	decoder := json.NewDecoder(strings.NewReader(applied))
	decoder.UseNumber() // digits stay as they are
	var manifest map[string]any
	if err := decoder.Decode(&manifest); err != nil {
		return nil, err
	}
	if metadata, is := manifest["metadata"].(map[string]any); is {
		if annotations, is := metadata["annotations"].(map[string]any); is && len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
	return json.Marshal(manifest)
}

// isOf says whether a manifest is that of an object. It stands in an annotation, which whoever may change the object has written.
func isOf(manifest string, key bundle.Key) bool {
	id, err := bundle.Identify([]byte(manifest))
	return err == nil && id.Group() == key.Group && id.Kind == key.Kind && id.Name == key.Name && (id.Namespace == "" || id.Namespace == key.Namespace)
}

// Stop implements Origin: nothing runs.
func (kubectl) Stop(context.Context, *member.Cluster) error { return nil }

// Start implements Origin.
func (kubectl) Start(context.Context, *member.Cluster, json.RawMessage) error { return nil }
