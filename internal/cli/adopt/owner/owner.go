package owner

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/fields"
)

// Manager is under which name somebody writes objects, and how.
type Manager struct {
	Name      string                            `json:"manager"`
	Operation metav1.ManagedFieldsOperationType `json:"operation"`
}

// between separates the managers in a note.
const between = "__"

// Note writes managers down, as the value of a label.
func Note(managers []Manager) string {
	texts := make([]string, len(managers))
	for i, m := range managers {
		texts[i] = m.note()
	}
	return strings.Join(texts, between)
}

func (m Manager) note() string { return m.Name + "." + string(m.Operation) }

// Noted returns those of the managers that a note names.
func Noted(note string, of []Manager) []Manager {
	var noted []Manager
	for text := range strings.SplitSeq(note, between) {
		if i := slices.IndexFunc(of, func(m Manager) bool { return m.note() == text }); i >= 0 {
			noted = append(noted, of[i])
		}
	}
	return noted
}

// own are the fields that Umbel adds to objects.
var own = fieldpath.NewSet(
	fieldpath.MakePathOrDie("metadata", "labels", v1alpha1.PackageLabel),
	fieldpath.MakePathOrDie("metadata", "labels", v1alpha1.OnLeavingLabel),
	fieldpath.MakePathOrDie("metadata", "labels", v1alpha1.AdoptedFromLabel),
)

// Has says whether one of the managers has an entry.
func Has(entries []metav1.ManagedFieldsEntry, managers []Manager) bool {
	return slices.ContainsFunc(entries, func(e metav1.ManagedFieldsEntry) bool { return is(e, managers) })
}

func is(e metav1.ManagedFieldsEntry, managers []Manager) bool {
	return e.Subresource == "" && slices.Contains(managers, Manager{e.Manager, e.Operation})
}

// Ours returns what Umbel owns of an object, without its label; nil when that is nothing.
func Ours(entries []metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	for _, e := range entries {
		if !fields.IsOurs(e) {
			continue
		}
		set, err := parse(e)
		if err != nil {
			return nil, err
		}
		return set.Difference(own), nil
	}
	return nil, nil
}

func parse(e metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil {
		return set, nil
	}
	if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
		return nil, fmt.Errorf("reading which fields belong to %s: %w", e.Manager, err)
	}
	return set, nil
}

// Take returns the entries without those of the managers, and who of them had one. Umbel has to have an entry.
func Take(entries []metav1.ManagedFieldsEntry, from []Manager) (left []metav1.ManagedFieldsEntry, had []Manager, err error) {
	if !slices.ContainsFunc(entries, fields.IsOurs) {
		return nil, nil, errors.New("the agent has not applied it yet")
	}
	for _, e := range entries {
		if !is(e, from) {
			left = append(left, e)
			continue
		}
		if m := (Manager{e.Manager, e.Operation}); !slices.Contains(had, m) {
			had = append(had, m)
		}
	}
	return left, had, nil
}

// GiveBack returns the entries of an object with one for each of the managers: of what Umbel owns, and of the labels and annotations
// that belong to nobody, by which they know their objects.
func GiveBack(o metav1.Object, to []Manager, now metav1.Time) ([]metav1.ManagedFieldsEntry, error) {
	entries := o.GetManagedFields()
	ours, err := Ours(entries)
	if err != nil || ours == nil {
		return entries, err
	}
	ownerless, err := ownerless(o)
	if err != nil {
		return nil, err
	}
	raw, err := ours.Union(ownerless).ToJSON()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(entries, fields.IsOurs)
	given := slices.Clone(entries)
	for _, m := range to {
		if Has(entries, []Manager{m}) {
			continue // it has been back already
		}
		fields := &metav1.FieldsV1{}
		fields.SetRawBytes(raw)
		given = append(given, metav1.ManagedFieldsEntry{
			Manager: m.Name, Operation: m.Operation, APIVersion: entries[i].APIVersion, Time: &now, FieldsType: "FieldsV1", FieldsV1: fields,
		})
	}
	return given, nil
}

// ownerless are the labels and annotations that belong to nobody.
func ownerless(o metav1.Object) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	for field, names := range map[string]map[string]string{"labels": o.GetLabels(), "annotations": o.GetAnnotations()} {
		for name := range names {
			set.Insert(fieldpath.MakePathOrDie("metadata", field, name))
		}
	}
	set = set.Difference(own)
	for _, e := range o.GetManagedFields() {
		owned, err := parse(e)
		if err != nil {
			return nil, err
		}
		set = set.Difference(owned)
	}
	return set, nil
}

// Beyond returns the fields that managers own now, beside labels and annotations, and that nobody owns then without them.
func Beyond(now, then []metav1.ManagedFieldsEntry, managers []Manager) ([]string, error) {
	theirs, rest := &fieldpath.Set{}, &fieldpath.Set{}
	for _, e := range now {
		if is(e, managers) {
			owned, err := parse(e)
			if err != nil {
				return nil, err
			}
			theirs = theirs.Union(owned)
		}
	}
	for _, e := range then {
		if !is(e, managers) {
			owned, err := parse(e)
			if err != nil {
				return nil, err
			}
			rest = rest.Union(owned)
		}
	}
	var beyond []string
	theirs.Leaves().Difference(rest).Iterate(func(p fieldpath.Path) {
		if text := p.String(); !strings.HasPrefix(text, ".metadata.") {
			beyond = append(beyond, text)
		}
	})
	slices.Sort(beyond)
	return beyond, nil
}
