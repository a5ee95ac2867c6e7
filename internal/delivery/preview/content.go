package preview

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// Content is all objects of a Package as an agent sends them. Many members may be asked about one, at the same time.
type Content struct {
	key     v1alpha1.PackageKey
	objects []Object
	defines map[schema.GroupKind]bool
	holds   map[bundle.Key]Held // what the member is known to hold; nil when nothing is known of that
	whole   bool                // whether it holds nothing else
	rules   outgoing.Rules
	trusts  bool // see Trusting
}

// Held is what is known of an object that a member holds of a Package.
type Held struct {
	// Sent returns it as it was sent last, and what of it was left to others; nil when that is not known.
	Sent func() (sent outgoing.Object, left *outgoing.Left, known bool)
	// UID is which object it is; empty when that is not known.
	UID types.UID
	// Adopted: it was there before.
	Adopted bool
}

// Object is one object of a content, and where it stands in the source.
type Object struct {
	ID   bundle.ID
	File string
	// Read returns the object as it is sent.
	Read func() (outgoing.Object, error)
}

// NewContent makes the content of a Package of its objects.
func NewContent(key v1alpha1.PackageKey, objects []Object) (*Content, error) {
	c := &Content{key: key, objects: objects, defines: map[schema.GroupKind]bool{}}
	for _, o := range objects {
		if o.ID.Kind != definition {
			continue
		}
		sent, err := o.Read()
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", o.ID, o.File, err)
		}
		if kind, is := defines(sent.Body); is {
			c.defines[kind] = true
		}
	}
	return c, nil
}

// Holding says what the member holds of the Package, which who keeps an inventory knows.
func (c *Content) Holding(objects map[bundle.Key]Held) *Content {
	c.holds, c.whole = objects, true
	return c
}

// After says what the member holds of the Package by the release that it has. What else there is of it is searched for by its label, in
// every kind that there is.
func (c *Content) After(entries []bundle.Entry) error {
	sent, err := outgoing.All(c.key, entries)
	if err != nil {
		return err
	}
	c.holds = map[bundle.Key]Held{}
	for _, o := range sent {
		c.holds[o.ID.Key()] = Held{Sent: func() (outgoing.Object, *outgoing.Left, bool) { return o, c.rules.Left(o.ID.Key(), o.Asks), true }}
	}
	return nil
}

// Under says which fields of the objects are left to others.
func (c *Content) Under(rules outgoing.Rules) *Content {
	c.rules = rules
	return c
}

// Trusting says that a look was taken before: of objects that are not there it is enough that a few in each place would be taken by the API
// server: each is sent in a moment, and asking for every one of a release of new objects takes as long as sending them. What another trusting
// look at the same Member found out a moment ago, of which kinds there are and of which objects are in a place, is believed.
func (c *Content) Trusting() *Content {
	c.trusts = true
	return c
}

// Prepare makes the content of rendered objects.
func Prepare(key v1alpha1.PackageKey, entries []bundle.Entry) (*Content, error) {
	all, err := outgoing.All(key, entries)
	if err != nil {
		return nil, err
	}
	objects := make([]Object, len(all))
	for i, o := range all {
		objects[i] = Object{ID: o.ID, File: o.File, Read: func() (outgoing.Object, error) { return o, nil }}
	}
	return NewContent(key, objects)
}
