package disk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/asks"
	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/outgoing"
)

// Content is the unpacked objects of one release: an index in memory, the bytes in a file that has no name and goes when
// nobody holds the content any more, which the garbage collector finds out.
type Content struct {
	Digest  string
	Objects map[bundle.Key]Object
	// Order is which of them come after which.
	Order asks.Order
	file  *os.File
	// bare are the keys of objects with namespaces by what they are without, made when somebody first asks for an object that has none.
	bare func() map[bundle.Key]bundle.Key
}

// Object is where the bytes of one object are, and what they say.
type Object struct {
	ID       bundle.ID
	Source   string // the file in the source
	Hash     uint64
	TakeOver bool // it asks for its fields, whoever owns them
	Asks     asks.Asks
	Wrong    error // what it asks for cannot be done; the others are not to suffer from it
	offset   int64
	length   int
	// files is the size of the encrypted files that its values are from, which follow it; 0 when nothing of it is encrypted.
	files int
}

// sealedHash tells an object with encrypted values from one that has the same bytes and is applied as it is.
const sealedHash = 0x5ea1ed

// Sealed says whether values of the object are encrypted.
func (o Object) Sealed() bool { return o.files > 0 }

const unpackedPrefix = "unpacked-"

func (f *Folder) blobPath(digest string) string {
	return filepath.Join(f.dir, strings.TrimPrefix(digest, "sha256:")+".zst")
}

// ReadBlob returns the content with the digest, verified; fs.ErrNotExist when it is not here, not whole or cannot be read, so that
// it is pulled again.
func (f *Folder) ReadBlob(digest string) ([]byte, error) {
	raw, err := os.ReadFile(f.blobPath(digest))
	if err != nil {
		return nil, errors.Join(fs.ErrNotExist, err)
	}
	if err := verify(raw, digest); err != nil {
		return nil, errors.Join(fs.ErrNotExist, err)
	}
	return raw, nil
}

// WriteBlob keeps content, unless it is not what its digest says.
func (f *Folder) WriteBlob(digest string, raw []byte) error {
	if err := verify(raw, digest); err != nil {
		return err
	}
	return f.replace(filepath.Base(f.blobPath(digest)), raw)
}

func verify(raw []byte, digest string) error {
	sum := sha256.Sum256(raw)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != digest {
		return fmt.Errorf("content has digest %s, not %s", got, digest)
	}
	return nil
}

// Unpack verifies and opens the content with the digest. Every object carries the label of the package afterwards.
func (f *Folder) Unpack(key v1alpha1.PackageKey, digest string) (*Content, error) {
	raw, err := f.ReadBlob(digest)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(f.dir, unpackedPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	c := &Content{Digest: digest, file: file, Objects: map[bundle.Key]Object{}}
	c.bare = sync.OnceValue(c.withoutNamespaces)
	if err := c.fill(raw, key); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return c, nil
}

func (c *Content) fill(raw []byte, key v1alpha1.PackageKey) error {
	w := bufio.NewWriterSize(c.file, 256<<10)
	var offset int64
	wishes := map[bundle.Key]asks.Asks{}
	for it, err := range bundle.Decode(bytes.NewReader(raw), bundle.DefaultLimits) {
		if err != nil {
			return err
		}
		sent, err := outgoing.Of(key, it)
		if err != nil {
			return err
		}
		var files []byte
		if sent.Sealed {
			if files, err = json.Marshal(sent.Files); err != nil {
				return err
			}
		}
		o := Object{
			ID: it.ID, Source: strings.Clone(it.File), Hash: xxhash.Sum64(sent.Body), offset: offset, length: len(sent.Body),
			TakeOver: sent.TakeOver, Asks: sent.Asks, Wrong: sent.Wrong, files: len(files),
		}
		if o.Sealed() {
			o.Hash ^= sealedHash
		}
		if len(o.Asks.DependsOn) > 0 {
			wishes[it.ID.Key()] = o.Asks
		}
		c.Objects[it.ID.Key()] = o
		n, err := w.Write(append(append(sent.Body, files...), '\n'))
		if err != nil {
			return err
		}
		offset += int64(n)
	}
	c.arrange(wishes)
	return w.Flush()
}

// arrange makes the order of the objects.
func (c *Content) arrange(wishes map[bundle.Key]asks.Asks) {
	if len(wishes) == 0 {
		return
	}
	order, wrong := asks.Arrange(wishes, func(key bundle.Key) bool {
		_, there := c.Objects[key]
		return there
	})
	c.Order = order
	for key, err := range wrong {
		o := c.Objects[key]
		o.Wrong = err
		c.Objects[key] = o
	}
}

// Find returns the object that is key on the member. A source may leave out the namespace default, and write one where
// the kind has none.
func (c *Content) Find(key bundle.Key) (Object, bool) {
	if o, ok := c.Objects[key]; ok {
		return o, true
	}
	if key.Namespace == "default" {
		key.Namespace = ""
		o, ok := c.Objects[key]
		return o, ok
	}
	if key.Namespace == "" {
		written, ok := c.bare()[key]
		return c.Objects[written], ok
	}
	return Object{}, false
}

// withoutNamespaces makes bare. Of two that differ in their namespaces alone it has one: a kind without namespaces has no two.
func (c *Content) withoutNamespaces() map[bundle.Key]bundle.Key {
	bare := map[bundle.Key]bundle.Key{}
	for written := range c.Objects {
		if key := written; key.Namespace != "" {
			key.Namespace = ""
			bare[key] = written
		}
	}
	return bare
}

// Size is how many bytes are sent.
func (o Object) Size() int { return o.length }

// Files returns the encrypted files that an object's values are from.
func (c *Content) Files(o Object) ([]string, error) {
	raw := make([]byte, o.files)
	if _, err := c.file.ReadAt(raw, o.offset+int64(o.length)); err != nil {
		return nil, err
	}
	var texts []string
	return texts, json.Unmarshal(raw, &texts)
}

// Body returns the bytes of an object as they are sent, but that values of one that is sealed are encrypted.
func (c *Content) Body(o Object) ([]byte, error) {
	raw := make([]byte, o.length)
	_, err := c.file.ReadAt(raw, o.offset)
	return raw, err
}

// Outgoing returns an object as it is sent.
func (c *Content) Outgoing(o Object) (sent outgoing.Object, err error) {
	sent = outgoing.Object{ID: o.ID, File: o.Source, TakeOver: o.TakeOver, Sealed: o.Sealed(), Asks: o.Asks, Wrong: o.Wrong}
	if sent.Body, err = c.Body(o); err == nil && o.Sealed() {
		sent.Files, err = c.Files(o)
	}
	return sent, err
}
