package disk

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/klauspost/compress/zstd"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/apply/member"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Deletions is what was deleted and how it was, so that it can be brought back. Each deletion is a folder: what it is about
// in deletion.json, and the objects in files that are never written again. It is safe for concurrent use.
type Deletions struct {
	dir    string
	limits Limits

	mu  sync.Mutex
	all map[string]*Deletion // nil while the folder cannot be read
}

// Limits bound the journal of deletions: what is older goes, and the oldest when there are more bytes. The latest deletion is kept
// whatever its size: nothing is deleted that cannot come back.
type Limits struct {
	Age   time.Duration
	Bytes int64
}

// DefaultLimits are thirty days and a quarter of a gigabyte, compressed: some millions of lines of manifests.
var DefaultLimits = Limits{Age: 30 * 24 * time.Hour, Bytes: 256 << 20}

// Deletion is what one package lost at one time.
type Deletion struct {
	ID       string              `json:"id"`
	Package  v1alpha1.PackageKey `json:"package"`
	Release  string              `json:"release,omitempty"`
	Revision string              `json:"revision,omitempty"`
	// Cause is why it was allowed, and Approval which word allowed it, where one did.
	Cause    string `json:"cause"`
	Approval string `json:"approval,omitempty"`
	// ActsAs is whom the package acted as; nil is the agent.
	ActsAs *member.Account `json:"actsAs,omitempty"`
	At     time.Time       `json:"at"`
	// Objects is how many there are in it, and Names what some of them are called.
	Objects int      `json:"objects"`
	Names   []string `json:"names,omitempty"`
	// Closed says that nothing more is added.
	Closed bool  `json:"closed,omitempty"`
	Undo   *Undo `json:"undo,omitempty"`

	batches int
	bytes   int64
	keys    map[bundle.Key]bool // of one that is not closed
}

// Undo is how far the objects of a deletion are on their way back.
type Undo struct {
	// Done says that every object is back, or left as it is for a reason.
	Done bool `json:"done,omitempty"`
	// Back is how many are, and Left why others are not.
	Back int      `json:"back,omitempty"`
	Left []string `json:"left,omitempty"`
	// Waits is what stands in the way for now.
	Waits string `json:"waits,omitempty"`
}

// Deleted is one object as it was, and what the inventory knew of it.
type Deleted struct {
	Key    bundle.Key      `json:"k"`
	Item   Item            `json:"i"`
	Object json.RawMessage `json:"o"`
	// Wrapped is what stands in place of the object where it is encrypted for the member.
	Wrapped []byte `json:"w,omitempty"`
}

const (
	deletionFile = "deletion.json"
	batchSuffix  = ".jsonl.zst"
	namedObjects = 10
)

// OpenDeletions returns the journal in the folder. Where that cannot be read, nothing can be kept and nothing undone: Known says why, and
// each call tries again. It stops nothing else.
func OpenDeletions(dir string, limits Limits) *Deletions { return &Deletions{dir: dir, limits: limits} }

// Known says why it is not known what the journal has; nil when it is.
func (d *Deletions) Known() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known()
}

// known takes up what is in the folder, unless that was done; the caller holds mu. A deletion that cannot be read is left there, for
// people to look at: it stops nothing. One that does not say what it is about goes, if it can: a crash came before anything was
// deleted for it, or while it was forgotten.
func (d *Deletions) known() error {
	if d.all != nil {
		return nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return fmt.Errorf("opening the journal of deletions: %w", err)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("opening the journal of deletions: %w", err)
	}
	d.all = map[string]*Deletion{}
	for _, entry := range entries {
		found, err := d.open(entry.Name())
		switch {
		case err == nil:
			d.all[found.ID] = found
		case errors.Is(err, fs.ErrNotExist) && entry.IsDir():
			_ = os.RemoveAll(filepath.Join(d.dir, entry.Name())) // what cannot be deleted says nothing of itself the next time either
		}
	}
	return nil
}

func (d *Deletions) open(id string) (*Deletion, error) {
	raw, err := os.ReadFile(filepath.Join(d.dir, id, deletionFile))
	if err != nil {
		return nil, err
	}
	found := &Deletion{}
	if err := json.Unmarshal(raw, found); err != nil {
		return nil, fmt.Errorf("reading deletion %s: %w", id, err)
	}
	if found.ID != id {
		return nil, fmt.Errorf("deletion %s says that it is %q", id, found.ID)
	}
	batches, err := d.batchesOf(id)
	if err != nil {
		return nil, err
	}
	for _, path := range batches {
		if info, err := os.Stat(path); err == nil {
			found.bytes += info.Size()
		}
	}
	found.batches = len(batches)
	return found, nil
}

func (d *Deletions) batchesOf(id string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(d.dir, id, "*"+batchSuffix))
	slices.Sort(paths)
	return paths, err
}

// Begin returns the deletion to which objects are to be added: the one that was begun before for the same reason and has not
// ended, or a new one like that which is given. Nothing is on the disk before the first Record.
func (d *Deletions) Begin(like Deletion) (id string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.known(); err != nil {
		return "", err
	}
	for _, one := range d.all {
		if one.Closed || one.Package != like.Package {
			continue
		}
		if one.Release == like.Release && one.Cause == like.Cause && one.Approval == like.Approval && one.ActsAs.Equal(like.ActsAs) && one.Undo == nil {
			return one.ID, d.recall(one)
		}
		if one.Objects == 0 {
			delete(d.all, one.ID)
			continue
		}
		one.Closed, one.keys = true, nil // it did not come to its end, and never will
		if err := d.write(one); err != nil {
			return "", err
		}
	}
	like.ID, like.keys = newDeletionID(), map[bundle.Key]bool{}
	d.all[like.ID] = &like
	return like.ID, nil
}

// recall finds out which objects an unfinished deletion has; the caller holds mu.
func (d *Deletions) recall(one *Deletion) error {
	if one.keys != nil {
		return nil
	}
	deleted, err := d.read(one.ID)
	if err != nil {
		return err
	}
	one.keys = map[bundle.Key]bool{}
	for _, o := range deleted {
		one.keys[o.Key] = true
	}
	return nil
}

// newDeletionID draws eight hex digits: short enough to be typed, and enough for what one member keeps.
func newDeletionID() string {
	var raw [4]byte
	_, _ = rand.Read(raw[:]) // it never fails
	return hex.EncodeToString(raw[:])
}

// Record keeps objects as they are. When it returns nil they are on the disk, whatever happens next.
func (d *Deletions) Record(id string, objects []Deleted) error {
	if len(objects) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.all[id]
	if one == nil || one.Closed {
		return fmt.Errorf("there is no deletion %s to add to", id)
	}
	if one.Undo != nil {
		return fmt.Errorf("deletion %s is being undone", id)
	}
	packed, err := pack(objects)
	if err != nil {
		return err
	}
	folder := filepath.Join(d.dir, id)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	path := filepath.Join(folder, fmt.Sprintf("%06d%s", one.batches, batchSuffix))
	if err := renameio.WriteFile(path, packed, 0o600, renameio.WithTempDir(folder)); err != nil {
		return err
	}
	one.batches++
	one.bytes += int64(len(packed))
	for _, o := range objects {
		if !one.keys[o.Key] {
			one.keys[o.Key] = true
			one.Objects++
			if len(one.Names) < namedObjects {
				one.Names = append(one.Names, o.Key.String())
			}
		}
	}
	first := one.batches == 1
	if err := d.write(one); err != nil || !first {
		return err
	}
	return syncFolder(d.dir)
}

// write keeps what a deletion is about, and with it the names of its files; the caller holds mu.
func (d *Deletions) write(one *Deletion) error {
	raw, err := json.Marshal(one)
	if err != nil {
		return err
	}
	folder := filepath.Join(d.dir, one.ID)
	if err := renameio.WriteFile(filepath.Join(folder, deletionFile), raw, 0o600, renameio.WithTempDir(folder)); err != nil {
		return err
	}
	return syncFolder(folder)
}

// pack writes objects as lines, compressed.
func pack(objects []Deleted) ([]byte, error) {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	enc := json.NewEncoder(w)
	for _, o := range objects {
		if err := enc.Encode(o); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}

// Close says that a deletion has come to its end. One of nothing is forgotten.
func (d *Deletions) Close(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.all[id]
	if one == nil {
		return nil
	}
	if one.Objects == 0 {
		delete(d.all, id)
		return nil
	}
	one.Closed, one.keys = true, nil
	return d.write(one)
}

// Read returns the objects of a deletion, each once and as it was last.
func (d *Deletions) Read(id string) ([]Deleted, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.read(id)
}

func (d *Deletions) read(id string) ([]Deleted, error) {
	paths, err := d.batchesOf(id)
	if err != nil {
		return nil, err
	}
	last := map[bundle.Key]int{}
	var objects []Deleted
	for _, path := range paths {
		batch, err := unpack(path)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		for _, o := range batch {
			if i, twice := last[o.Key]; twice {
				objects[i] = o
				continue
			}
			last[o.Key] = len(objects)
			objects = append(objects, o)
		}
	}
	return objects, nil
}

func unpack(path string) ([]Deleted, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := zstd.NewReader(bufio.NewReader(file), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var objects []Deleted
	for dec := json.NewDecoder(r); dec.More(); {
		var o Deleted
		if err := dec.Decode(&o); err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// SetUndo keeps how far the objects of a deletion are on their way back. There is none when the deletion is not here.
func (d *Deletions) SetUndo(id string, undo Undo) (found bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.all[id]
	if one == nil || one.Objects == 0 {
		return false, nil
	}
	one.Undo = &undo
	return true, d.write(one)
}

// List returns the deletions, the newest first; none while they are not known.
func (d *Deletions) List() []Deletion {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known() != nil {
		return nil
	}
	var list []Deletion
	for _, one := range d.all {
		if one.Objects > 0 {
			list = append(list, *one)
		}
	}
	slices.SortFunc(list, func(a, b Deletion) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(a.ID, b.ID)) })
	return list
}

// Trim forgets what is beyond the limits, the oldest first, and says whether there was anything. What is under way, in
// either direction, stays.
func (d *Deletions) Trim(now time.Time) (trimmed bool, err error) {
	var bytes int64
	for i, one := range d.List() {
		bytes += one.bytes
		underWay := !one.Closed || one.Undo != nil && !one.Undo.Done
		fits := i == 0 || bytes <= d.limits.Bytes
		if underWay || fits && now.Sub(one.At) <= d.limits.Age {
			continue
		}
		bytes -= one.bytes
		trimmed = true
		err = errors.Join(err, d.remove(one.ID))
	}
	return trimmed, err
}

// remove forgets a deletion: what it is about goes first, since without it nothing else counts.
func (d *Deletions) remove(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, id)
	if err := os.Remove(filepath.Join(d.dir, id, deletionFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(d.dir, id))
}
