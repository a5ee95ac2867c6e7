package bundle

import (
	"cmp"
	"strings"
)

// Key names an object on a cluster. The version of the API is not part of it: an object is the same in all of its
// versions.
type Key struct {
	Group, Kind, Namespace, Name string
}

// Key is the ID without the version of the API.
func (id ID) Key() Key {
	return Key{Group: id.Group(), Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// String returns KIND[.GROUP] [NAMESPACE/]NAME, as people write it.
func (k Key) String() string {
	return ID{APIVersion: k.Group + "/", Kind: k.Kind, Namespace: k.Namespace, Name: k.Name}.String()
}

// Compare orders by group, kind, namespace and name.
func (k Key) Compare(other Key) int {
	return cmp.Or(
		strings.Compare(k.Group, other.Group), strings.Compare(k.Kind, other.Kind),
		strings.Compare(k.Namespace, other.Namespace), strings.Compare(k.Name, other.Name))
}
