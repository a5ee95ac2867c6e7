package git

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"umbel.dev/umbel/internal/delivery/source"
)

const (
	// maxObject bounds a commit or a tag that is verified.
	maxObject = 1 << 20
	// maxHistory is how many commits are looked at to tell whether one comes before another.
	maxHistory = 20_000
)

var _ source.Witness = (*Reader)(nil)

// Evidence implements source.Witness.
func (r *Reader) Evidence(ref source.Ref, of source.Revision) (source.Evidence, error) {
	storage := r.mirror(ref).open()
	defer storage.Close()
	var evidence source.Evidence
	var err error
	if evidence.Commit, err = bytesOf(storage, plumbing.CommitObject, of.ID); err != nil {
		return evidence, err
	}
	if of.Tag != "" {
		evidence.Tag, err = bytesOf(storage, plumbing.TagObject, of.Tag)
	}
	return evidence, err
}

// bytesOf returns the bytes of an object, which are those of its hash.
func bytesOf(storage *filesystem.Storage, kind plumbing.ObjectType, hash string) ([]byte, error) {
	encoded, err := storage.EncodedObject(kind, plumbing.NewHash(hash))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fmt.Errorf("%s %s has not been fetched", kind, hash)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", kind, hash, err)
	}
	if encoded.Size() > maxObject {
		return nil, fmt.Errorf("%s %s: %w", kind, hash, source.ErrTooLarge)
	}
	reader, err := encoded.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", kind, hash, err)
	}
	raw, err := io.ReadAll(reader)
	if err := errors.Join(err, reader.Close()); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", kind, hash, err)
	}
	if plumbing.ComputeHash(kind, raw).String() != hash {
		return nil, fmt.Errorf("%s %s in the mirror is another one: %w", kind, hash, errUnreadable)
	}
	return raw, nil
}

// Before implements source.Witness. It looks at a bounded number of commits, the newest first.
func (r *Reader) Before(ref source.Ref, one, other string) (bool, error) {
	storage := r.mirror(ref).open()
	defer storage.Close()
	from, err := object.GetCommit(storage, plumbing.NewHash(other))
	if err != nil || one == other {
		return false, err
	}
	found, left := false, maxHistory
	err = object.NewCommitIterCTime(from, nil, nil).ForEach(func(c *object.Commit) error {
		if found = c.Hash.String() == one; found || left == 0 {
			return storer.ErrStop
		}
		left--
		return nil
	})
	return found, err
}
