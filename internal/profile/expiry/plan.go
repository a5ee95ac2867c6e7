package expiry

import (
	"cmp"
	"slices"
	"time"
)

// Found is a certificate: when it ends, and whose it is.
type Found struct {
	Until time.Time
	Of    string
}

// First returns the one that ends first; of several the first by name.
func First(all []Found) (Found, bool) {
	if len(all) == 0 {
		return Found{}, false
	}
	return slices.MinFunc(all, func(a, b Found) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Of, b.Of)) }), true
}
