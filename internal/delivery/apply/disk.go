package apply

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

	"github.com/cespare/xxhash/v2"
	"github.com/google/renameio/v2"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// release is one version of a package, as the hub assigned it.
type release struct {
	Release    string `json:"release"`
	Revision   string `json:"revision"`
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	Size       int64  `json:"size"`
}

// order is what the agent was told to do with a package, and how far it is. It is written before anything is done.
type order struct {
	Package v1alpha1.PackageKey `json:"package"`
	// Current was applied completely. It stands until Next has been.
	Current *release `json:"current,omitempty"`
	// Next is to be applied.
	Next *release `json:"next,omitempty"`
	// Removing asks for everything in the inventory to be pruned.
	Removing bool `json:"removing,omitempty"`
}

// target is the release that the package is to be at, or nil.
func (o order) target() *release {
	if o.Next != nil {
		return o.Next
	}
	return o.Current
}

// item is one object that the package may have put on the member. It enters the inventory before it is applied and
// leaves it after it is deleted, so that a crash in between loses nothing.
type item struct {
	Version    string `json:"v"` // of the API
	Resource   string `json:"r"`
	Namespaced bool   `json:"n,omitempty"`
	Hash       uint64 `json:"h,omitempty"`
	UID        string `json:"u,omitempty"`
	Owned      uint64 `json:"o,omitempty"`
	Adopted    bool   `json:"a,omitempty"`
}

// disk is the folder of one package:
//
//	order.json       what is asked for
//	inventory.jsonl  what may be on the member
//	SHA256.zst       content, as pulled and verified
//	SHA256.jsonl     the same unpacked, one object a line, as it is sent; made anew from the other when it is missing
type disk struct {
	dir string
}

func packageDir(root string, key v1alpha1.PackageKey) string {
	return filepath.Join(root, key.LabelValue())
}

func (d disk) readOrder() (order, error) {
	var o order
	raw, err := os.ReadFile(filepath.Join(d.dir, "order.json"))
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return order{}, fmt.Errorf("reading %s: %w", filepath.Join(d.dir, "order.json"), err)
	}
	return o, nil
}

func (d disk) writeOrder(o order) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(d.dir, "order.json"), raw, 0o600)
}

// inventoryLine is a key and its item as one line of inventory.jsonl.
type inventoryLine struct {
	Key  Key  `json:"k"`
	Item item `json:"i"`
}

// readInventory returns what may be on the member. A missing file is an empty inventory only when there has never
// been one; the caller knows by the order.
func (d disk) readInventory() (map[Key]item, error) {
	inventory := map[Key]item{}
	raw, err := os.ReadFile(filepath.Join(d.dir, "inventory.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return inventory, nil
	}
	if err != nil {
		return nil, err
	}
	for n, line := range bytes.Split(bytes.TrimRight(raw, "\n"), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var l inventoryLine
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("reading %s, line %d: %w", filepath.Join(d.dir, "inventory.jsonl"), n+1, err)
		}
		inventory[l.Key] = l.Item
	}
	return inventory, nil
}

func (d disk) writeInventory(inventory map[Key]item) error {
	file, err := renameio.NewPendingFile(filepath.Join(d.dir, "inventory.jsonl"), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // after CloseAtomicallyReplace there is nothing left to clean up
	w := bufio.NewWriterSize(file, 256<<10)
	enc := json.NewEncoder(w)
	for key, it := range inventory {
		if err := enc.Encode(inventoryLine{key, it}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

func (d disk) blobPath(digest string) string {
	return filepath.Join(d.dir, strings.TrimPrefix(digest, "sha256:")+".zst")
}

func (d disk) objectsPath(digest string) string {
	return filepath.Join(d.dir, strings.TrimPrefix(digest, "sha256:")+".jsonl")
}

// readBlob returns the content with the digest, verified; fs.ErrNotExist when it is not here or not whole, so that
// it is pulled again.
func (d disk) readBlob(digest string) ([]byte, error) {
	raw, err := os.ReadFile(d.blobPath(digest))
	if err != nil {
		return nil, err
	}
	if err := verify(raw, digest); err != nil {
		return nil, errors.Join(fs.ErrNotExist, err)
	}
	return raw, nil
}

func (d disk) writeBlob(digest string, raw []byte) error {
	if err := verify(raw, digest); err != nil {
		return err
	}
	return renameio.WriteFile(d.blobPath(digest), raw, 0o600)
}

func verify(raw []byte, digest string) error {
	sum := sha256.Sum256(raw)
	if got := "sha256:" + hex.EncodeToString(sum[:]); got != digest {
		return fmt.Errorf("content has digest %s, not %s", got, digest)
	}
	return nil
}

// keep deletes every content but those with the digests.
func (d disk) keep(digests ...string) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, digest := range digests {
		wanted[strings.TrimPrefix(digest, "sha256:")] = true
	}
	var errs []error
	for _, e := range entries {
		name, suffix, _ := strings.Cut(e.Name(), ".")
		if (suffix == "zst" || suffix == "jsonl") && len(name) == 64 && !wanted[name] {
			errs = append(errs, os.Remove(filepath.Join(d.dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (d disk) remove() error { return os.RemoveAll(d.dir) }

// content is the unpacked objects of one release: an index in memory, the bytes on disk.
type content struct {
	digest  string
	file    *os.File
	objects map[Key]object
}

// object is where the bytes of one object are, and what they say.
type object struct {
	id       bundle.ID
	source   string // the file in the source
	offset   int64
	length   int
	hash     uint64
	takeOver bool
}

// unpack verifies and opens the content with the digest. Every object carries the package's label afterwards.
func (d disk) unpack(key v1alpha1.PackageKey, digest string) (_ *content, err error) {
	raw, err := d.readBlob(digest)
	if err != nil {
		return nil, err
	}
	file, err := os.Create(d.objectsPath(digest))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	c := &content{digest: digest, file: file, objects: map[Key]object{}}
	w := bufio.NewWriterSize(file, 256<<10)
	var offset int64
	for it, err := range bundle.Decode(bytes.NewReader(raw), bundle.DefaultLimits) {
		if err != nil {
			return nil, err
		}
		body, takeOver, err := label(it.Object, key)
		if err != nil {
			return nil, fmt.Errorf("%s in %s: %w", it.ID, it.File, err)
		}
		c.objects[keyOf(it.ID)] = object{
			id: it.ID, source: strings.Clone(it.File), offset: offset, length: len(body), hash: xxhash.Sum64(body), takeOver: takeOver,
		}
		n, err := w.Write(append(body, '\n'))
		if err != nil {
			return nil, err
		}
		offset += int64(n)
	}
	return c, w.Flush()
}

// body returns the bytes of an object as they are sent.
func (c *content) body(o object) ([]byte, error) {
	raw := make([]byte, o.length)
	_, err := c.file.ReadAt(raw, o.offset)
	return raw, err
}

func (c *content) close() {
	if c != nil {
		_ = c.file.Close() // it was only read
	}
}

// label puts the package's label on an object, and says whether the object asks for its fields to be taken over.
func label(raw []byte, key v1alpha1.PackageKey) (_ []byte, takeOver bool, err error) {
	var o map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // numbers pass through as they were written
	if err := dec.Decode(&o); err != nil {
		return nil, false, err
	}
	metadata, ok := o["metadata"].(map[string]any)
	if !ok {
		return nil, false, errors.New("metadata is not an object")
	}
	labels, ok := metadata["labels"].(map[string]any)
	if !ok {
		labels = map[string]any{}
		metadata["labels"] = labels
	}
	labels[v1alpha1.PackageLabel] = key.LabelValue()
	annotations, _ := metadata["annotations"].(map[string]any)
	body, err := json.Marshal(o)
	return body, annotations[v1alpha1.TakeOverAnnotation] == "true", err
}
