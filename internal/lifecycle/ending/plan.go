package ending

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Blocker is a part of a cluster that does not go.
type Blocker struct {
	Part       unstructured.Unstructured
	Finalizers []string
	// Since is when it was to be deleted.
	Since time.Time
	// Said is what it says of itself, empty when it says nothing.
	Said string
}

// Name is the kind and the name of a part.
func Name(part *unstructured.Unstructured) string { return part.GetKind() + " " + part.GetName() }

// String is one line.
func (b Blocker) String() string {
	text := fmt.Sprintf("blocked by finalizer %s of %s since %s", strings.Join(b.Finalizers, ", "), Name(&b.Part), b.Since.UTC().Format("15:04:05 MST"))
	if b.Said != "" {
		text += ": " + b.Said
	}
	return text
}

// Blockers returns which parts do not go, the oldest first.
func Blockers(parts []unstructured.Unstructured) []Blocker {
	below := map[types.UID][]*unstructured.Unstructured{}
	for i := range parts {
		for _, owner := range parts[i].GetOwnerReferences() {
			below[owner.UID] = append(below[owner.UID], &parts[i])
		}
	}
	var lowest, all []Blocker
	for _, part := range parts {
		if !held(&part) {
			continue
		}
		b := Blocker{Part: part, Finalizers: part.GetFinalizers(), Since: part.GetDeletionTimestamp().Time, Said: saying(&part)}
		all = append(all, b)
		if !anyHeld(below, part.GetUID(), map[types.UID]bool{}) {
			lowest = append(lowest, b)
		}
	}
	blockers := lowest
	if len(lowest) == 0 {
		blockers = all // they own each other in a circle
	}
	slices.SortFunc(blockers, func(a, b Blocker) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(Name(&a.Part), Name(&b.Part))
	})
	return blockers
}

// held says whether somebody keeps a part that is being deleted.
func held(part *unstructured.Unstructured) bool {
	return part.GetDeletionTimestamp() != nil && len(part.GetFinalizers()) > 0
}

// anyHeld says whether any part below an owner is held. References may go in circles: nobody is asked twice.
func anyHeld(below map[types.UID][]*unstructured.Unstructured, owner types.UID, asked map[types.UID]bool) bool {
	if asked[owner] {
		return false
	}
	asked[owner] = true
	return slices.ContainsFunc(below[owner], func(part *unstructured.Unstructured) bool {
		return part.GetUID() != owner && (held(part) && !asked[part.GetUID()] || anyHeld(below, part.GetUID(), asked))
	})
}

// saying returns why a part is not gone, as it says itself.
func saying(part *unstructured.Unstructured) string {
	all, _, _ := unstructured.NestedSlice(part.Object, "status", "conditions")
	said := map[string]string{}
	for _, one := range all {
		c, _ := one.(map[string]any)
		name, _ := c["type"].(string)
		message, _ := c["message"].(string)
		said[name] = strings.Join(strings.Fields(strings.ReplaceAll(message, "* ", "")), " ")
	}
	for _, name := range []string{"Deleting", "Ready", "Available"} {
		if said[name] != "" {
			return said[name]
		}
	}
	return ""
}

// Orphan is what may be left of a part that nobody ended.
type Orphan struct {
	Kind string    `json:"kind"`
	Name string    `json:"name"`
	UID  types.UID `json:"uid,omitempty"`
	// IDs are the names by which its provider knows it, by the field that has them.
	IDs map[string]string `json:"ids,omitempty"`
	// Finalizers are whose work was not waited for.
	Finalizers []string `json:"finalizers,omitempty"`
}

// OrphanOf returns what may be left of a part.
func OrphanOf(part *unstructured.Unstructured) Orphan {
	o := Orphan{Kind: part.GetKind() + "." + part.GroupVersionKind().Group, Name: part.GetName(), UID: part.GetUID(), Finalizers: part.GetFinalizers(), IDs: map[string]string{}}
	for _, top := range []string{"spec", "status"} {
		identifiers(part.Object[top], top, o.IDs)
	}
	return o
}

// identifiers collects the strings below a value whose fields are called as identifiers are: providerID, vpcId, arn, host and so on.
func identifiers(value any, at string, into map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			if text, is := inner.(string); is && text != "" && identifies(name) {
				into[at+"."+name] = text
				continue
			}
			identifiers(inner, at+"."+name, into)
		}
	case []any:
		for i, inner := range v {
			identifiers(inner, fmt.Sprintf("%s[%d]", at, i), into)
		}
	}
}

func identifies(field string) bool {
	if field == "uid" {
		return false
	}
	lower := strings.ToLower(field)
	switch lower {
	case "id", "arn", "host", "selflink", "address", "instanceuuid", "biosuuid", "region", "zone", "failuredomain", "resourcegroup", "project", "server", "datacenter", "folder":
		return true
	}
	return strings.HasSuffix(field, "ID") || strings.HasSuffix(field, "Id") || strings.HasSuffix(field, "ARN") || strings.HasSuffix(field, "Arn")
}
