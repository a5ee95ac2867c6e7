package budget

import (
	"testing"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/bundle"
)

func count(n uint32) *wire.Budget   { return &wire.Budget{Limit: &wire.Budget_Count{Count: n}} }
func percent(n uint32) *wire.Budget { return &wire.Budget{Limit: &wire.Budget_Percent{Percent: n}} }

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		reason string
		limit  *wire.Budget
		of     int
		want   int
	}{
		{"nothing is said: a tenth", nil, 100, 10},
		{"a message without a limit says nothing either", &wire.Budget{}, 100, 10},
		{"rounded down", nil, 59, 5},
		{"three of a small package", nil, 12, 3},
		{"though not more than half", nil, 4, 2},
		{"of three, one", nil, 3, 1},
		{"of one, one: a release that replaces its only object", nil, 1, 1},
		{"of none, none", nil, 0, 0},
		{"a percentage is for small packages as the default is", percent(5), 10, 3},
		{"no percent is none", percent(0), 100, 0},
		{"all", percent(100), 7, 7},
		{"more than all is all", percent(4000000000), 7, 7},
		{"a number is taken as it is", count(5), 100, 5},
		{"also where that is more than there is", count(4000000000), 3, 3},
		{"none", count(0), 100, 0},
	} {
		if got := Allows(c.limit, c.of); got != c.want {
			t.Errorf("%s: %v of %d allows %d, want %d", c.reason, c.limit, c.of, got, c.want)
		}
	}
}

// TestWhoIsInterruptedGoesOn: when some of what is allowed is gone, the rest is allowed as well.
func TestWhoIsInterruptedGoesOn(t *testing.T) {
	for _, limit := range []*wire.Budget{nil, percent(1), percent(33), percent(100), count(0), count(7)} {
		for of := range 400 {
			allowed := Allows(limit, of)
			for gone := range allowed {
				if left := Allows(limit, of-gone); left < allowed-gone {
					t.Fatalf("%v: %d of %d are allowed, and after %d of them only %d of %d", limit, allowed, of, gone, left, of-gone)
				}
			}
		}
	}
}

func TestProtects(t *testing.T) {
	for key, want := range map[bundle.Key]bool{
		{Kind: "Namespace", Name: "a"}:                                          true,
		{Kind: "PersistentVolumeClaim", Namespace: "a", Name: "b"}:              true,
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:       true,
		{Group: "example.com", Kind: "Namespace", Name: "somebody else's kind"}: false,
		{Kind: "ConfigMap", Namespace: "a", Name: "b"}:                          false,
	} {
		if got := Protects(key); got != want {
			t.Errorf("%s: %v", key, got)
		}
	}
}
