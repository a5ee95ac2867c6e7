package render

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/variable"
)

// Choice is what the variants of a Package say for some clusters, put together.
type Choice struct {
	// Components are added to the kustomization at the source's path, which they are relative to.
	Components []string
	// Values are documents of values for a chart, one over the other.
	Values []Values
	// Variables are the values of ${package.variables.NAME}: a string, a bool or a json.Number each.
	Variables map[string]any
}

// Maker makes the objects of one revision of a source. What it makes depends on nothing but that and the choice, of
// which Variables are not for it: they are put in later.
type Maker func(choice Choice) (*Rendered, error)

// Variant is a choice for the clusters that a selector names.
type Variant struct {
	// Selector is a variable of package variable; empty for all clusters.
	Selector string
	Choice
}

// Family is all that a source gives for clusters that differ.
type Family struct {
	// Variables are what clusters differ by, sorted.
	Variables []string

	variants  []Variant
	selectors []string             // of the variants, sorted
	made      map[string]*Rendered // by the values of the selectors
}

// Variants renders a source for each choice that the clusters make: those for which the selectors of the variants have
// the same values share one. Without a cluster it is the choice of a cluster that no selector matches, so that what is wrong
// with the source is seen at once.
func Variants(makes Maker, variants []Variant, clusters []variable.Cluster) (*Family, error) {
	f := &Family{variants: variants, made: map[string]*Rendered{}}
	for _, v := range variants {
		if v.Selector != "" {
			f.selectors = append(f.selectors, v.Selector)
		}
	}
	slices.Sort(f.selectors)
	f.selectors = slices.Compact(f.selectors)
	choices := map[string]Choice{}
	for _, cluster := range clusters {
		key, choice := f.choose(func(selector string) bool { return variable.Matches(selector, cluster) })
		choices[key] = choice
	}
	if len(clusters) == 0 {
		key, choice := f.choose(func(string) bool { return false })
		choices[key] = choice
	}
	for _, key := range slices.Sorted(maps.Keys(choices)) {
		rendered, err := makes(choices[key])
		if err != nil {
			return nil, err
		}
		f.made[key] = rendered.with(choices[key].Variables)
	}
	f.Variables = f.variables()
	return f, nil
}

// choose puts together what the variants say where the selectors have their values, and names that.
func (f *Family) choose(matches func(selector string) bool) (key string, choice Choice) {
	bits := make([]byte, len(f.selectors))
	for i, selector := range f.selectors {
		bits[i] = '0'
		if matches(selector) {
			bits[i] = '1'
		}
	}
	choice.Variables = map[string]any{}
	for _, v := range f.variants {
		if i, _ := slices.BinarySearch(f.selectors, v.Selector); v.Selector != "" && bits[i] == '0' {
			continue
		}
		for _, component := range v.Components {
			if !slices.Contains(choice.Components, component) {
				choice.Components = append(choice.Components, component)
			}
		}
		choice.Values = append(choice.Values, v.Values...)
		maps.Copy(choice.Variables, v.Variables)
	}
	return string(bits), choice
}

// noChart refuses values for what is none.
func (c Choice) noChart(what string) error {
	if len(c.Values) == 0 {
		return nil
	}
	return fmt.Errorf("%s has nothing to be given to: %s is no chart", c.Values[0].From, what)
}

// variables are the selectors, and all that is used in what was made. What only some choices use is asked of the clusters
// of a selector only, where there is one that tells those choices from others.
func (f *Family) variables() []string {
	all := map[string]bool{}
	for _, selector := range f.selectors {
		all[selector] = true
	}
	usedBy := map[string][]string{}
	for key, rendered := range f.made {
		for _, name := range rendered.Variables {
			usedBy[name] = append(usedBy[name], key)
		}
	}
	for name, keys := range usedBy {
		guard, _ := variable.Unguarded(name)
		if selector := f.telling(keys); selector != "" && guard == "" && !variable.IsSelector(name) {
			name = variable.Guarded(selector, name)
		}
		all[name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// telling is the selector that is true in all of these choices and in the fewest others; empty when there is none, or when
// these choices are all.
func (f *Family) telling(keys []string) (best string) {
	fewest := len(f.made)
	for i, selector := range f.selectors {
		if slices.ContainsFunc(keys, func(key string) bool { return key[i] == '0' }) {
			continue
		}
		others := -len(keys)
		for key := range f.made {
			others += int(key[i] - '0')
		}
		if others < fewest {
			fewest, best = others, selector
		}
	}
	if len(keys) == len(f.made) {
		return ""
	}
	return best
}

// For returns the objects for clusters that have these values of the variables, in their order.
func (f *Family) For(values []string) ([]bundle.Entry, error) {
	rendered, own, err := f.pick(values)
	if err != nil {
		return nil, err
	}
	return rendered.For(own)
}

// pick finds what was made for clusters with these values, and which of the values are asked for there.
func (f *Family) pick(values []string) (rendered *Rendered, own []string, err error) {
	if len(values) != len(f.Variables) {
		return nil, nil, fmt.Errorf("%d values for %d variables", len(values), len(f.Variables))
	}
	known := make(map[string]string, len(values))
	for i, name := range f.Variables {
		known[name] = values[i]
	}
	key, _ := f.choose(func(selector string) bool { return known[selector] == "true" })
	rendered = f.made[key]
	if rendered == nil {
		return nil, nil, fmt.Errorf("nothing was rendered where %s", strings.Join(f.selectors, ", "))
	}
	own = make([]string, len(rendered.Variables))
	for i, name := range rendered.Variables {
		value, ok := known[name]
		for j := 0; !ok && j < len(f.selectors); j++ {
			value, ok = known[variable.Guarded(f.selectors[j], name)]
		}
		own[i] = value
	}
	return rendered, own, nil
}

// File returns a file that refers to the variable; empty when that is a variant's selector.
func (f *Family) File(name string) string {
	for _, key := range slices.Sorted(maps.Keys(f.made)) {
		if file := f.made[key].File(name); file != "" {
			return file
		}
		if _, inner := variable.Unguarded(name); f.made[key].File(inner) != "" {
			return f.made[key].File(inner)
		}
	}
	return ""
}

// Scalar reads a value of a variable of a Package: a text, a number or a boolean.
func Scalar(raw []byte) (any, error) {
	value, err := decode(raw)
	if err != nil {
		return nil, err
	}
	switch value.(type) {
	case string, bool, json.Number:
		return value, nil
	}
	return nil, fmt.Errorf("is %s, has to be a text, a number or a boolean", describe(value))
}

// CheckName says whether a variable of a Package may be called that.
func CheckName(name string) error {
	return known(ofPackage + name)
}
