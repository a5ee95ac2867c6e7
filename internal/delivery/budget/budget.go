// Package budget answers: how many of so many may go without a word?
//
// It is arithmetic that hub and agent share: the agent counts objects, when it prunes, and the hub counts clusters that lose
// a Package, and says beforehand what an agent will find.
package budget

import (
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Default is what holds where nothing is said: a tenth, see Allows.
func Default() *wire.Budget { return &wire.Budget{Limit: &wire.Budget_Percent{Percent: 10}} }

// few is how many may go of a small number, of which a percentage would be less than that.
const few = 3

// Allows says how many of so many may go. A number is taken as it is. A percentage is rounded down, and of a small number
// it allows a few, though not more than half, and one in any case: otherwise a package of five objects could never lose
// one. What is left over while some have gone is allowed as well, so that who is interrupted can go on: if d of n are
// allowed, then d-1 of n-1 are.
func Allows(limit *wire.Budget, of int) int {
	if limit.GetLimit() == nil {
		limit = Default()
	}
	if count, ok := limit.GetLimit().(*wire.Budget_Count); ok {
		return int(min(count.Count, uint32(max(of, 0))))
	}
	percent := int(min(limit.GetPercent(), 100))
	if percent == 0 || of <= 0 {
		return 0
	}
	return max(of*percent/100, min(few, of/2), 1)
}

// Protects says whether no budget allows an object to go, because it takes along what others keep in it.
func Protects(key bundle.Key) bool {
	switch key.Kind {
	case "Namespace", "PersistentVolumeClaim":
		return key.Group == ""
	case "CustomResourceDefinition":
		return key.Group == "apiextensions.k8s.io"
	}
	return false
}
