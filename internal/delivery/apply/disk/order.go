package disk

import (
	"encoding/json"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

// Order is what the agent was told to do with a package, and how far it is. It is written before anything is done.
type Order struct {
	Package v1alpha1.PackageKey
	// Current was applied completely. It stands until Next has been.
	Current *Release
	// Next is to be applied.
	Next *Release
	// Removing asks for everything in the inventory to be pruned.
	Removing bool
	// Begun is the digest of the content of Next, once it was found to change what somebody had seen that it would, and
	// before any of it is written. Only where that is asked for.
	Begun string
	// Policy is how the package is treated, whatever its release; nil is by the defaults.
	Policy *Policy
	// ActsAs is whom the package acts as; nil is the agent itself.
	ActsAs *member.Account
	// Code shows that the agent wrote the order, see package apply.
	Code []byte
}

// written is an Order in its file. The releases of a package that acts as somebody stand in a place of their own: an agent of
// a version that does not know it, as one that goes back to the program before is, finds a package that is to hold
// nothing new and prunes nothing. It would apply all of it with its own rights otherwise.
type written struct {
	Package  v1alpha1.PackageKey `json:"package"`
	Current  *Release            `json:"current,omitempty"`
	Next     *Release            `json:"next,omitempty"`
	Removing bool                `json:"removing,omitempty"`
	Begun    string              `json:"begun,omitempty"`
	Policy   *Policy             `json:"policy,omitempty"`
	Acting   *acting             `json:"acting,omitempty"`
	Code     []byte              `json:"code,omitempty"`
}

// acting is the releases of a package that acts as somebody.
type acting struct {
	As      member.Account `json:"as"`
	Current *Release       `json:"current,omitempty"`
	Next    *Release       `json:"next,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (o Order) MarshalJSON() ([]byte, error) {
	w := written{Package: o.Package, Removing: o.Removing, Begun: o.Begun, Policy: o.Policy, Code: o.Code}
	if o.ActsAs != nil {
		w.Acting = &acting{As: *o.ActsAs, Current: o.Current, Next: o.Next}
	} else {
		w.Current, w.Next = o.Current, o.Next
	}
	return json.Marshal(w)
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Order) UnmarshalJSON(raw []byte) error {
	var w written
	if err := json.Unmarshal(raw, &w); err != nil {
		return err
	}
	*o = Order{Package: w.Package, Current: w.Current, Next: w.Next, Removing: w.Removing, Begun: w.Begun, Policy: w.Policy, Code: w.Code}
	if w.Acting != nil {
		o.ActsAs, o.Current, o.Next = &w.Acting.As, w.Acting.Current, w.Acting.Next
	}
	return nil
}

// Target is the release that the package is to be at, or nil.
func (o Order) Target() *Release {
	if o.Next != nil {
		return o.Next
	}
	return o.Current
}

// Equal says whether two orders ask for the same and are equally far.
func (o Order) Equal(other Order) bool {
	return o.Package == other.Package && o.Removing == other.Removing && o.ActsAs.Equal(other.ActsAs) &&
		o.Current.Equal(other.Current) && o.Next.Equal(other.Next) && o.Policy.Equal(other.Policy)
}
