package asks

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// Order is which objects of a package come after which. The zero value is no order at all.
type Order struct {
	after  map[bundle.Key][]bundle.Key // what an object depends on, as the objects are called in the package
	levels map[bundle.Key]int
}

// Arrange makes the order of the objects of a package, of which wishes names those that depend on others. An object that
// depends on what is not there, or is part of a cycle, is an error of that object; those that depend on it go without.
func Arrange(wishes map[bundle.Key]Asks, there func(bundle.Key) bool) (Order, map[bundle.Key]error) {
	o := Order{after: map[bundle.Key][]bundle.Key{}, levels: map[bundle.Key]int{}}
	wrong := map[bundle.Key]error{}
	for _, key := range slices.SortedFunc(maps.Keys(wishes), bundle.Key.Compare) {
		for _, target := range wishes[key].DependsOn {
			found, ok := locate(key, target, there)
			if !ok {
				wrong[key] = fmt.Errorf("it depends on %s, which is not in this package: an order can be kept among the objects of one package only", target)
				break
			}
			o.after[key] = append(o.after[key], found)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(o.after), bundle.Key.Compare) {
		if cycle := o.cycle(key); cycle != nil && wrong[key] == nil {
			wrong[key] = fmt.Errorf("it depends on itself: %s", strings.Join(cycle, " → "))
		}
	}
	for key := range wrong {
		delete(o.after, key)
	}
	for key := range o.after {
		o.level(key)
	}
	return o, wrong
}

// locate finds what an object means by a target: an object that has no namespace there may be in its own.
func locate(from, target bundle.Key, there func(bundle.Key) bool) (bundle.Key, bool) {
	if there(target) {
		return target, true
	}
	if target.Namespace == "" {
		target.Namespace = from.Namespace
	}
	return target, there(target)
}

// cycle returns the way from an object back to itself, or nil. A cycle further down is no matter of its own.
func (o *Order) cycle(key bundle.Key) []string {
	seen := map[bundle.Key]bool{}
	var walk func(at bundle.Key, way []bundle.Key) []bundle.Key
	walk = func(at bundle.Key, way []bundle.Key) []bundle.Key {
		way = append(way, at)
		for _, next := range o.after[at] {
			if next == key {
				return append(way, key)
			}
			if seen[next] {
				continue
			}
			seen[next] = true
			if found := walk(next, way); found != nil {
				return found
			}
		}
		return nil
	}
	var names []string
	for _, each := range walk(key, nil) {
		names = append(names, each.String())
	}
	return names
}

// level is how many steps of the order come before an object. There is no cycle any more.
func (o *Order) level(key bundle.Key) int {
	if known, ok := o.levels[key]; ok {
		return known
	}
	level := 0
	for _, before := range o.after[key] {
		level = max(level, o.level(before)+1)
	}
	o.levels[key] = level
	return level
}

// Level is the place of an object: those of a lower one come first. An object that depends on nothing is at 0.
func (o Order) Level(key bundle.Key) int { return o.levels[key] }

// After returns what an object depends on, or nil.
func (o Order) After(key bundle.Key) []bundle.Key { return o.after[key] }

// Levels is how many levels there are, at least one.
func (o Order) Levels() int {
	most := 0
	for _, level := range o.levels {
		most = max(most, level)
	}
	return most + 1
}
