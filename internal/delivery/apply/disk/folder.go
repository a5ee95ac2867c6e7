package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

// Policy is a wire.Policy as it came, with what an agent of this version does not know.
type Policy struct {
	ID  string `json:"id"`
	Raw []byte `json:"raw"`
}

// Equal says whether both say the same, or both are nil.
func (p *Policy) Equal(other *Policy) bool {
	if p == nil || other == nil {
		return p == other
	}
	return p.ID == other.ID && bytes.Equal(p.Raw, other.Raw)
}

// Equal says whether both are the same release, or both are nil.
func (r *Release) Equal(other *Release) bool {
	if r == nil || other == nil {
		return r == other
	}
	return *r == *other
}

// Folder is the folder of one package. Whoever reads something there, changes it and writes it back holds the lock
// meanwhile, and so does who writes an inventory; the methods do not take it.
type Folder struct {
	sync.Mutex
	dir     string
	journal *journal
}

// Open returns the folder of a package, which need not exist yet.
func Open(root string, key v1alpha1.PackageKey) *Folder {
	return in(filepath.Join(root, key.LabelValue()))
}

func in(dir string) *Folder {
	return &Folder{dir: dir, journal: newJournal(filepath.Join(dir, "journal.jsonl"))}
}

// List returns the folders of packages in root: those that have an order, also one that cannot be read. What in root is no folder
// is nobody's package.
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
		if !entry.IsDir() {
			continue
		}
		f := in(filepath.Join(root, entry.Name()))
		if _, err := f.ReadOrder(); errors.Is(err, fs.ErrNotExist) {
			f.sweep()
			continue
		}
		folders = append(folders, f)
	}
	return folders, nil
}

// sweep deletes a folder that has no order: a crash came before the first was complete, or while the folder was deleted.
// One whose inventory names something, or cannot be read, stays for people to look at. What cannot be deleted stays as well, and
// stops nothing.
func (f *Folder) sweep() {
	if inventory, err := f.ReadInventory(); err == nil && len(inventory) == 0 {
		_ = os.RemoveAll(f.dir)
	}
}

// nameFile says whose a folder is, where its own name does not.
const nameFile = "package"

// hashed is a folder's name that may be the beginning of a longer one, with its hash.
var hashed = regexp.MustCompile(`-[0-9a-f]{8}$`)

// Key returns whose the folder is, without its order; not known where that stands nowhere else.
func (f *Folder) Key() (key v1alpha1.PackageKey, known bool) {
	name := filepath.Base(f.dir)
	if raw, err := os.ReadFile(filepath.Join(f.dir, nameFile)); err == nil && f.Is(v1alpha1.PackageKey(raw)) {
		return v1alpha1.PackageKey(raw), true
	}
	namespace, rest, ok := strings.Cut(name, ".")
	if !ok || namespace == "" || rest == "" || hashed.MatchString(name) {
		return "", false
	}
	return v1alpha1.PackageKey(namespace + "/" + rest), true
}

// Sign writes down whose the folder is, unless its name says so, so that this is known also when its order cannot be read.
func (f *Folder) Sign(key v1alpha1.PackageKey) error {
	if there, known := f.Key(); known && there == key {
		return nil
	}
	return f.replace(nameFile, []byte(key))
}

// Name is the folder's, for people to find it.
func (f *Folder) Name() string { return f.dir }

// ReadOrder returns the order; fs.ErrNotExist when there is none. One that names another package than the folder's, or none, is an
// error: to guess would be to delete.
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
	if !f.Is(o.Package) {
		return Order{}, fmt.Errorf("reading %s: it is an order for package %q, which this is not the folder of", path, o.Package)
	}
	return o, nil
}

// Is says whether the folder is the one of a package.
func (f *Folder) Is(key v1alpha1.PackageKey) bool { return filepath.Base(f.dir) == key.LabelValue() }

// WriteOrder makes the folder when it is not there, and keeps the order in it.
func (f *Folder) WriteOrder(o Order) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if err := f.Sign(o.Package); err != nil {
		return err
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return f.replace("order.json", raw)
}

// replace writes a whole file: after a crash there is the old one or the new one, and once it returns, the new one.
func (f *Folder) replace(name string, raw []byte) error {
	if err := renameio.WriteFile(filepath.Join(f.dir, name), raw, 0o600, renameio.WithTempDir(f.dir)); err != nil {
		return err
	}
	return syncFolder(f.dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Keep deletes every content but the one with the digest, and the files that a crash left half written.
func (f *Folder) Keep(digest string) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(f.dir, e.Name())
		stale := strings.HasSuffix(path, ".zst") && path != f.blobPath(digest)
		if stale || strings.HasPrefix(e.Name(), unpackedPrefix) || strings.HasPrefix(e.Name(), ".") {
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

// Check says whether everything in root can be read. It changes nothing there, whoever else is at work in it.
func Check(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if !entry.IsDir() {
			continue
		}
		f := in(filepath.Join(root, entry.Name()))
		if _, err := f.ReadOrder(); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if _, err := f.ReadInventory(); err != nil {
			return err
		}
	}
	return nil
}
