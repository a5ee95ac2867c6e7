package members

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// boundedProperties returns what a member says of itself, as far as the API takes it: each name once, in order, and nothing
// that is too long or not a text. It is never nil.
func boundedProperties(said []*wire.ClusterProperty) []*wire.ClusterProperty {
	kept := []*wire.ClusterProperty{}
	for _, p := range said {
		name, value := p.GetName(), p.GetValue()
		if name == "" || len(name) > v1alpha1.MaxPropertyName || len(value) > v1alpha1.MaxPropertyValue ||
			!utf8.ValidString(name) || !utf8.ValidString(value) {
			continue
		}
		kept = append(kept, &wire.ClusterProperty{Name: strings.Clone(name), Value: strings.Clone(value)})
	}
	slices.SortStableFunc(kept, func(a, b *wire.ClusterProperty) int { return strings.Compare(a.GetName(), b.GetName()) })
	kept = slices.CompactFunc(kept, func(a, b *wire.ClusterProperty) bool { return a.GetName() == b.GetName() })
	return kept[:min(len(kept), v1alpha1.MaxProperties)]
}

// properties returns what stands in the status, with the time at which the hub heard of each value first.
func properties(before []v1alpha1.MemberProperty, heard []*wire.ClusterProperty, now time.Time) []v1alpha1.MemberProperty {
	known := make(map[string]v1alpha1.MemberProperty, len(before))
	for _, p := range before {
		known[p.Name] = p
	}
	var after []v1alpha1.MemberProperty
	for _, p := range heard {
		property := v1alpha1.MemberProperty{Name: p.GetName(), Value: p.GetValue(), Since: *stored(now)}
		if was, ok := known[p.GetName()]; ok && was.Value == p.GetValue() {
			property.Since = was.Since
		}
		after = append(after, property)
	}
	return after
}
