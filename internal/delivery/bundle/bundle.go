package bundle

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	sigsjson "sigs.k8s.io/json"
)

// MediaType is the type of a bundle as a blob in an OCI registry.
const MediaType = "application/vnd.umbel.objects.v1+jsonl.zstd"

var (
	// ErrEmpty says that a bundle has no objects, which no bundle may be.
	ErrEmpty = errors.New("a bundle holds at least one object")
	// ErrTooLarge says that a bundle goes past a limit.
	ErrTooLarge = errors.New("bundle too large")
	// ErrMalformed says that the bytes are not a bundle.
	ErrMalformed = errors.New("malformed bundle")
)

// Limits bound what Encode makes and what Decode reads.
type Limits struct {
	// Bytes is the size of all lines before compression.
	Bytes int64
	// Objects is how many objects there may be.
	Objects int
	// ObjectBytes is the size of one line.
	ObjectBytes int
}

// DefaultLimits are far above what a member's API server would take: 256 MiB, 50,000 objects, 4 MiB each (a request
// to an API server ends at 3 MiB).
var DefaultLimits = Limits{Bytes: 256 << 20, Objects: 50_000, ObjectBytes: 4 << 20}

// Entry is one object to be put into a bundle.
type Entry struct {
	// File is the path of the file that the object comes from, within the source.
	File string
	// Object is the object as JSON.
	Object json.RawMessage
}

// Item is one object read from a bundle.
type Item struct {
	Entry
	// ID is who the object is.
	ID ID
}

// ID says which object of a cluster is meant.
type ID struct {
	APIVersion string
	Kind       string
	// Namespace is empty for an object of the whole cluster, and for one whose source leaves it out.
	Namespace string
	Name      string
}

// Group is the API group, empty for the core group.
func (id ID) Group() string {
	if group, _, found := strings.Cut(id.APIVersion, "/"); found {
		return group
	}
	return ""
}

// Secret says whether the object is a Secret of Kubernetes, of which nobody repeats a value.
func (id ID) Secret() bool { return id.APIVersion == "v1" && id.Kind == "Secret" }

// Compare orders by group, kind, namespace and name. Two IDs that differ in their API version alone are the same
// object, and equal.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		strings.Compare(id.Group(), other.Group()),
		strings.Compare(id.Kind, other.Kind),
		strings.Compare(id.Namespace, other.Namespace),
		strings.Compare(id.Name, other.Name),
	)
}

// String is KIND[.GROUP] [NAMESPACE/]NAME, as in the statuses of the API.
func (id ID) String() string {
	var b strings.Builder
	b.WriteString(id.Kind)
	if group := id.Group(); group != "" {
		b.WriteString("." + group)
	}
	b.WriteString(" ")
	if id.Namespace != "" {
		b.WriteString(id.Namespace + "/")
	}
	b.WriteString(id.Name)
	return b.String()
}

// line is an Entry as it is written.
type line struct {
	File   string          `json:"file"`
	Object json.RawMessage `json:"object"`
}

// Identify reads who an object is. Keys are matched exactly, as an API server does.
func Identify(object []byte) (ID, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
	}
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(object, &head); err != nil {
		return ID{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	id := ID{APIVersion: head.APIVersion, Kind: head.Kind, Namespace: head.Metadata.Namespace, Name: head.Metadata.Name}
	if id.APIVersion == "" || id.Kind == "" || id.Name == "" {
		return ID{}, fmt.Errorf("%w: an object needs apiVersion, kind and metadata.name: %s", ErrMalformed, id)
	}
	return id, nil
}
