package outgoing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/fields"
	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Rules say what of a package's objects is left to others. The zero value leaves nothing. Nobody writes to them.
type Rules struct {
	// Report: what others do to an object that does not ask for anything else is told, and left.
	Report bool
	ignore []ignoring
}

// Leaves says whether what others do to an object is told, and left until a release changes the object.
func (r Rules) Leaves(wants asks.Asks) bool {
	switch wants.Drift {
	case asks.DriftIgnore, asks.DriftRepair:
		return false
	case asks.DriftReport:
		return true
	}
	return r.Report
}

// ignoring is fields of some objects that are left to others.
type ignoring struct {
	of    *wire.DriftIgnore
	left  Left
	exact string // of names the rule, for its digest
}

// Left is what of one object is left to others. Nil is nothing.
type Left struct {
	whole    bool // all of it, once it is there
	pointers []fields.Pointer
	managers []string
	digest   uint64
}

// RulesOf makes rules ready for use. What of them cannot be used is left out, and is the error.
func RulesOf(ignore []*wire.DriftIgnore) (Rules, error) {
	var r Rules
	var errs []error
	for i, each := range ignore {
		one := ignoring{of: each, left: Left{managers: each.GetManagers()}}
		for _, text := range each.GetJsonPointers() {
			p, err := fields.ParsePointer(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("spec.drift.ignore[%d]: %w", i, err))
				continue
			}
			one.left.pointers = append(one.left.pointers, p)
			one.exact += p.String() + "\n"
		}
		one.exact += strings.Join(each.GetManagers(), "\x00") + "\x01"
		r.ignore = append(r.ignore, one)
	}
	return r, errors.Join(errs...)
}

// wholeDigest is that of objects that are left to others as a whole.
var wholeDigest = xxhash.Sum64String("whole")

// Left returns what of an object is left to others; nil when nothing is.
func (r Rules) Left(key bundle.Key, wants asks.Asks) *Left {
	if wants.Drift == asks.DriftIgnore {
		return &Left{whole: true, digest: wholeDigest}
	}
	var left Left
	exact := ""
	for _, each := range r.ignore {
		if !concerns(each.of, key) {
			continue
		}
		left.pointers = append(left.pointers, each.left.pointers...)
		left.managers = append(left.managers, each.left.managers...)
		exact += each.exact
	}
	if exact == "" {
		return nil
	}
	left.digest = xxhash.Sum64String(exact)
	return &left
}

// core is how the group is written that has no name.
const core = "core"

// concerns says whether a rule is about an object.
func concerns(rule *wire.DriftIgnore, key bundle.Key) bool {
	is := func(wanted, got string) bool { return wanted == "" || wanted == got }
	group := key.Group
	if group == "" && rule.GetGroup() == core {
		group = core
	}
	return is(rule.GetGroup(), group) && is(rule.GetKind(), key.Kind) && is(rule.GetNamespace(), key.Namespace) && is(rule.GetName(), key.Name)
}

// Digest tells what is left to others from anything else that may be; 0 when nothing is.
func (l *Left) Digest() uint64 {
	if l == nil {
		return 0
	}
	return l.digest
}

// Fields are the fields of an object that are left to others, whoever they are.
func (l *Left) Fields(object map[string]any) []fields.Pointer {
	if l.whole {
		return everything(object)
	}
	return l.pointers
}

// Release gives up fields of an object in the agent's entry, and says whether any of them was in it.
func Release(object map[string]any, pointers []fields.Pointer, entry []byte) (_ []byte, changed bool, err error) {
	if len(entry) == 0 || len(pointers) == 0 {
		return entry, false, nil
	}
	owned, err := fields.ParseEntry(entry)
	if err != nil {
		return nil, false, err
	}
	for _, pointer := range pointers {
		released, unit := owned.Release(object, pointer)
		if unit != nil {
			return nil, false, fmt.Errorf("spec.drift.ignore: the API takes %s as one, so %s cannot be left to others alone: ignore %s", unit, pointer, unit)
		}
		changed = changed || released
	}
	if !changed {
		return entry, false, nil
	}
	after, err := owned.Bytes()
	return after, true, err
}

// Rest is what is applied to an object that is there, of which others have those entries. The object is changed.
func (l *Left) Rest(object map[string]any, entries []metav1.ManagedFieldsEntry) ([]byte, error) {
	fields.Without(object, l.Fields(object))
	if err := l.subtract(object, entries); err != nil {
		return nil, err
	}
	return fields.Encode(object)
}

// subtract takes out what the managers have to whom everything is left that they take.
func (l *Left) subtract(object map[string]any, entries []metav1.ManagedFieldsEntry) error {
	for _, manager := range l.managers {
		for _, entry := range entries {
			if entry.Manager != manager || entry.FieldsV1 == nil {
				continue
			}
			owned, err := fields.ParseEntry(entry.FieldsV1.GetRawBytes())
			if err != nil {
				return err
			}
			owned.Subtract(object)
		}
	}
	return nil
}

// everything is all fields of an object but what it is known by and what it asks for.
func everything(object map[string]any) (all []fields.Pointer) {
	for name := range object {
		if name != "apiVersion" && name != "kind" && name != "metadata" {
			all = append(all, fields.Pointer{name})
		}
	}
	metadata, _ := object["metadata"].(map[string]any)
	kept := map[string]map[string]bool{
		"labels":      {v1alpha1.PackageLabel: true},
		"annotations": {v1alpha1.DriftAnnotation: true, v1alpha1.ConfigSyncMutationAnnotation: true},
	}
	for name, value := range metadata {
		entries, isMap := value.(map[string]any)
		switch {
		case name == "name" || name == "namespace":
		case kept[name] == nil || !isMap:
			all = append(all, fields.Pointer{"metadata", name})
		default:
			for key := range entries {
				if !kept[name][key] {
					all = append(all, fields.Pointer{"metadata", name, key})
				}
			}
		}
	}
	return all
}
