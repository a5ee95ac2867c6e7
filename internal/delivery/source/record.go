package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
)

// Record is what a Trace was asked, and one hash of all answers. If a tree of a later revision gives the same answers, whatever
// was made of the one that was traced would come out the same.
//
// A hub keeps one for each Package, so it is small, some ten bytes for each file, and holds no file system.
type Record struct {
	questions []byte // as pack packs them
	answers   [sha256.Size]byte
}

// Same says whether another file system would have answered everything that was asked the same. What cannot be read is not
// the same.
func (r *Record) Same(other fs.FS) bool {
	answers := newAnswers()
	for left, q := r.questions, (question{}); len(left) > 0; {
		left, q = unpack(left, q.name)
		now, known := answer(other, q)
		if !known {
			return false
		}
		answers.add(q, now)
	}
	return answers.sum() == r.answers
}

// Digest names all that was asked and answered, in hex.
func (r *Record) Digest() string { return hex.EncodeToString(r.answers[:]) }

// Size is about how many bytes of memory it takes.
func (r *Record) Size() int { return cap(r.questions) + len(r.answers) }

// answers hashes questions with their answers.
type answers struct{ hash hash.Hash }

func newAnswers() answers { return answers{sha256.New()} }

func (a answers) add(q question, answer string) {
	fmt.Fprintf(a.hash, "%d %q %q\n", q.what, q.name, answer)
}

func (a answers) sum() (sum [sha256.Size]byte) {
	a.hash.Sum(sum[:0])
	return sum
}

// pack packs questions that are sorted by name: of each name only what differs from the one before.
func pack(questions []question) []byte {
	var packed []byte
	before := ""
	for _, q := range questions {
		shared := 0
		for shared < min(len(before), len(q.name)) && before[shared] == q.name[shared] {
			shared++
		}
		packed = append(packed, byte(q.what))
		packed = binary.AppendUvarint(packed, uint64(shared))
		packed = binary.AppendUvarint(packed, uint64(len(q.name)-shared))
		packed = append(packed, q.name[shared:]...)
		before = q.name
	}
	return bytes.Clone(packed) // without what append left at its end
}

// unpack returns the first question of what is packed, after one of the name before, and the rest.
func unpack(packed []byte, before string) (rest []byte, q question) {
	q.what, rest = what(packed[0]), packed[1:]
	shared, n := binary.Uvarint(rest)
	rest = rest[n:]
	length, n := binary.Uvarint(rest)
	rest = rest[n:]
	q.name = before[:shared] + string(rest[:length])
	return rest[length:], q
}
