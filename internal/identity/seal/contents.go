package seal

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// maxVariants bounds what an agent is asked to believe in.
const maxVariants = 1 << 20

// Content is that of one variant.
type Content struct {
	Digest string
	Size   int64
}

func (c Content) leaf() []byte { return fmt.Appendf(nil, "%q %d", c.Digest, c.Size) }

// Contents are those of all variants of a Release, in their order, as a tree of hashes.
type Contents struct {
	leaves int64
	hashes []tlog.Hash
}

// NewContents makes the tree.
func NewContents(contents []Content) (*Contents, error) {
	t := &Contents{leaves: int64(len(contents))}
	for i, content := range contents {
		more, err := tlog.StoredHashes(int64(i), content.leaf(), t)
		if err != nil {
			return nil, fmt.Errorf("hashing the contents of a release: %w", err)
		}
		t.hashes = append(t.hashes, more...)
	}
	return t, nil
}

// ReadHashes implements tlog.HashReader.
func (t *Contents) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(t.hashes)) {
			return nil, errors.New("there is no such hash")
		}
		found[i] = t.hashes[index]
	}
	return found, nil
}

// Root stands for all contents.
func (t *Contents) Root() (tlog.Hash, error) { return tlog.TreeHash(t.leaves, t) }

// Prove returns the hashes that lead from the content of a variant to the root.
func (t *Contents) Prove(variant int) ([][]byte, error) {
	proof, err := tlog.ProveRecord(t.leaves, int64(variant), t)
	if err != nil {
		return nil, fmt.Errorf("proving variant %d: %w", variant, err)
	}
	path := make([][]byte, len(proof))
	for i := range proof {
		path[i] = proof[i][:]
	}
	return path, nil
}

// Place is where in a Release the content of a variant is.
type Place struct {
	Variants, Variant int64
	Root              []byte
	Path              [][]byte
}

// Check says why a content is not the one of the place; nil when it is. It returns the root, as a Statement has it.
func (p *Place) Check(content Content) (tlog.Hash, error) {
	var root tlog.Hash
	if p.Variants < 1 || p.Variants > maxVariants || p.Variant < 0 || p.Variant >= p.Variants || len(p.Root) != len(root) {
		return root, errors.New("it says no place among the contents of the release")
	}
	copy(root[:], p.Root)
	proof := make(tlog.RecordProof, len(p.Path))
	for i, hash := range p.Path {
		if len(hash) != len(root) {
			return root, errors.New("it has a hash of another length")
		}
		copy(proof[i][:], hash)
	}
	if err := tlog.CheckRecord(proof, p.Variants, root, p.Variant, tlog.RecordHash(content.leaf())); err != nil {
		return root, fmt.Errorf("content %s is none of the release", content.Digest)
	}
	return root, nil
}
