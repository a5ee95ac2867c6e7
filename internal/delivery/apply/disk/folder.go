package disk

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/renameio/v2"

	"umbel.dev/umbel/api/v1alpha1"
)

// Release is one version of a package, as the hub assigned it.
type Release struct {
	Release    string `json:"release"`
	Revision   string `json:"revision"`
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	Size       int64  `json:"size"`
}

// Order is what the agent was told to do with a package, and how far it is. It is written before anything is done.
type Order struct {
	Package v1alpha1.PackageKey `json:"package"`
	// Current was applied completely. It stands until Next has been.
	Current *Release `json:"current,omitempty"`
	// Next is to be applied.
	Next *Release `json:"next,omitempty"`
	// Removing asks for everything in the inventory to be pruned.
	Removing bool `json:"removing,omitempty"`
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
	return o.Package == other.Package && o.Removing == other.Removing &&
		o.Current.Equal(other.Current) && o.Next.Equal(other.Next)
}

// Equal says whether both are the same release, or both are nil.
func (r *Release) Equal(other *Release) bool {
	if r == nil || other == nil {
		return r == other
	}
	return *r == *other
}

// Folder is the folder of one package. Whoever reads something there, changes it and writes it back holds the lock
// meanwhile; the methods do not take it.
type Folder struct {
	sync.Mutex
	dir     string
	journal journal
}

// Open returns the folder of a package, which need not exist yet.
func Open(root string, key v1alpha1.PackageKey) *Folder {
	return in(filepath.Join(root, key.LabelValue()))
}

func in(dir string) *Folder {
	return &Folder{dir: dir, journal: journal{path: filepath.Join(dir, "journal.jsonl")}}
}

// List returns the folders in root that have an order. One whose order cannot be read stops it: to guess would be to
// delete.
func List(root string) ([]*Folder, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var folders []*Folder
	for _, entry := range entries {
		f := in(filepath.Join(root, entry.Name()))
		if _, err := f.ReadOrder(); errors.Is(err, fs.ErrNotExist) {
			continue // a crash before the first order was complete: nothing was done for it
		} else if err != nil {
			return nil, err
		}
		folders = append(folders, f)
	}
	return folders, nil
}

// ReadOrder returns the order; fs.ErrNotExist when there is none.
func (f *Folder) ReadOrder() (Order, error) {
	var o Order
	path := filepath.Join(f.dir, "order.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return Order{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return o, nil
}

// WriteOrder makes the folder when it is not there, and keeps the order in it.
func (f *Folder) WriteOrder(o Order) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(f.dir, "order.json"), raw, 0o600)
}

// Keep deletes every content but the one with the digest, and what a crash left behind.
func (f *Folder) Keep(digest string) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(f.dir, e.Name())
		stale := strings.HasSuffix(path, ".zst") && path != f.blobPath(digest)
		if stale || strings.HasPrefix(e.Name(), unpackedPrefix) {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// Remove deletes the folder: the order goes first, since without it nothing else counts.
func (f *Folder) Remove() error {
	f.journal.close()
	if err := os.Remove(filepath.Join(f.dir, "order.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(f.dir)
}
