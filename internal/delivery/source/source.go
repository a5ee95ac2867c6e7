package source

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"
)

// Kind is a kind of source.
type Kind string

// The kinds of sources.
const (
	Git  Kind = "git"
	OCI  Kind = "oci"
	Helm Kind = "helm"
)

// Ref names a version of a source, which may be another revision tomorrow. Two that are equal share what is fetched.
type Ref struct {
	Kind Kind
	// URL of the repository.
	URL string
	// Chart is its name in a repository of Helm charts; empty for other kinds.
	Chart string
	// Name of a branch, a tag or a version, a commit's full hash, or a digest. In Git refs/tags/NAME is the tag, where there is a branch
	// of that name as well.
	Name string
	// Range, when it is not empty, is taken instead of Name: the newest version that it allows, such as >=1.2 <2.
	Range string
	// Submodules: those of a Git repository are fetched as well.
	Submodules bool
	// Secret with the credentials, as NAMESPACE/NAME; empty for none.
	Secret string
	// Signed has the signatures of an artifact fetched beside it.
	Signed bool
}

// Version is what the Ref asks for, in words.
func (r Ref) Version() string {
	if r.Range != "" {
		return r.Range
	}
	return r.Name
}

// Revision is what a Ref pointed at.
type Revision struct {
	// ID names the content and never changes its meaning: a commit, or a digest.
	ID string
	// Name is the branch, tag or version that was found; empty when the Ref says all.
	Name string
	// Tag is the hash of the object that a Git tag has of its own; empty where there is none.
	Tag string
}

// Evidence is what a revision is signed with, as bytes that prove by themselves who they are of.
type Evidence struct {
	// Commit and Tag are objects of Git, without their kind and length; Tag is nil where the tag has none of its own.
	Commit, Tag []byte
	// Signatures are those of an artifact.
	Signatures []Signature
}

// Signature is one of cosign's: what was signed and the signature of it, or a bundle of sigstore with both.
type Signature struct {
	Payload   []byte `json:"payload,omitempty"`
	Signature []byte `json:"signature,omitempty"`
	Bundle    []byte `json:"bundle,omitempty"`
}

// Witness is a Reader that knows what revisions are signed with. Its methods may be called from many goroutines.
type Witness interface {
	// Evidence returns what a revision is signed with that was resolved, by a Ref with the same URL, Chart and Secret. It does
	// not ask the remote; what is not in the cache is an error.
	Evidence(ref Ref, of Revision) (Evidence, error)
	// Before says whether one revision is an ancestor of another, as far as the cache can tell.
	Before(ref Ref, one, other string) (bool, error)
}

// Reader reads the sources of one kind. Its methods may be called from many goroutines.
type Reader interface {
	// Resolve finds out which revision a Ref is at, and fetches it so that Tree can open it. It may be repeated, which costs
	// what changed; it blocks until ctx ends at the longest. Errors of type *Error are told as they are; anything else becomes
	// one that says FetchFailed.
	Resolve(ctx context.Context, ref Ref, with Credentials) (Revision, error)
	// Tree opens a revision that was resolved, by a Ref with the same URL, Chart and Secret, as a read-only file system for one
	// goroutine. It does not ask the remote; what is not in the cache is an error.
	Tree(ref Ref, revision string) (fs.FS, error)
}

// UnusedStay is how long what was fetched stays after its last use, when no Ref needs it any more.
const UnusedStay = time.Hour

// Keeper is a Reader whose folder wants to be kept in order.
type Keeper interface {
	// Tidy makes what was fetched quick to read, and deletes what is of none of the Refs that are used and was not used lately. It
	// may be repeated and cut off anywhere. It is called by one goroutine, and blocks for as long as its disk needs; the other
	// methods go on meanwhile.
	Tidy(ctx context.Context, used []Ref, now time.Time) error
}

// Head is what a Ref pointed at, and when.
type Head struct {
	// Revision is the last one that was found, also after a failure; zero when there was none.
	Revision
	// Err says why the last fetch failed, as an *Error; nil when it did not.
	Err error
	// At is when the last fetch began; zero when there was none.
	At time.Time
}

// Limits bound what is read of one tree in all, each read counted, and of one remote in one fetch.
type Limits struct {
	// Files and Bytes that are read of a tree.
	Files int
	Bytes int64
	// Fetch is how many bytes a remote may send in one fetch.
	Fetch int64
}

// DefaultLimits are 50,000 files, 256 MiB of them, and 4 GiB for one fetch: the first one of a repository brings its history.
var DefaultLimits = Limits{Files: 50_000, Bytes: 256 << 20, Fetch: 4 << 30}

// ErrTooLarge says that reading went past the Limits.
var ErrTooLarge = errors.New("too much to read")

// Clean makes a path of an API object, such as ./apps/, one of fs.FS.
func Clean(folder string) string {
	if cleaned := strings.TrimPrefix(path.Clean("/"+folder), "/"); cleaned != "" {
		return cleaned
	}
	return "."
}

// Short names a revision in a few characters: the beginning of a hash, and the version before it.
func Short(revision string) string {
	if version, _, found := strings.Cut(revision, "@"); found {
		return version
	}
	if algorithm, hash, found := strings.Cut(revision, ":"); found {
		return algorithm + ":" + hash[:min(len(hash), 12)]
	}
	return revision[:min(len(revision), 12)]
}
