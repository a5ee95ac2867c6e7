package disk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/bundle"
)

// Inventory is what a package may have put on the member.
type Inventory map[bundle.Key]Item

// Item is one object that the package may have put on the member. It enters the inventory before it is applied and
// leaves it when the API server has accepted its deletion, so that a crash in between loses nothing.
type Item struct {
	Version  string    `json:"v"` // of the API
	Resource string    `json:"r"`
	Hash     uint64    `json:"h,omitempty"`
	UID      types.UID `json:"u,omitempty"`
	Owned    uint64    `json:"o,omitempty"`
	Adopted  bool      `json:"a,omitempty"`
	// Kept says that somebody brought the object back after a release deleted it, and Despite which approval let it: that one
	// does not let it go again.
	Kept    bool   `json:"k,omitempty"`
	Despite string `json:"d,omitempty"`
	// Sealed says that something in the object came encrypted: what is on the member is not to be on the disk as it is.
	Sealed bool `json:"s,omitempty"`
	// From names the package of a team that the platform's took the object from.
	From v1alpha1.PackageKey `json:"f,omitempty"`
	// Given says that another package wrote the object last, and gave it to this one.
	Given bool `json:"g,omitempty"`
	Level int  `json:"l,omitempty"` // how many come before it by depends-on, so that it goes before them
}

// entry is a key and its item as one line of a file.
type entry struct {
	Key  bundle.Key `json:"k"`
	Item Item       `json:"i"`
	// Lines is how many lines the inventory has. It stands in the first: a file that was cut off at the end of a line is no shorter
	// inventory. Agents of before neither write it nor mind it.
	Lines int `json:"n,omitempty"`
}

// countedFile is there once this folder's inventory has said how many lines it has, or was not there because it has none. From
// then on a file without any is not one of nothing, which agents of before wrote.
const countedFile = "inventory.counted"

// ReadInventory returns what may be on the member, with what the journal says of it. It is empty when there never was
// an inventory. One that is shorter or longer than it says is an error. A line of the journal that cannot be read, because a crash or a full disk cut it off, is passed over: what
// it said is found out again.
func (f *Folder) ReadInventory() (Inventory, error) {
	inventory := Inventory{}
	path := filepath.Join(f.dir, "inventory.jsonl")
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	if err := f.parse(path, raw, inventory); err != nil {
		return nil, err
	}
	noted, err := read(f.journal.path)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(noted) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			continue
		}
		if _, there := inventory[e.Key]; there {
			inventory[e.Key] = e.Item
		}
	}
	return inventory, nil
}

// parse takes the lines of the inventory's file.
func (f *Folder) parse(path string, raw []byte, into Inventory) error {
	if raw != nil && len(raw) == 0 && f.counted() {
		return fmt.Errorf("reading %s: it is empty: it was cut off", path)
	}
	number, lines := 0, 0
	for line := range bytes.Lines(raw) {
		number++
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("reading %s, line %d: %w", path, number, err)
		}
		if e.Key.Kind == "" {
			return fmt.Errorf("reading %s, line %d: it names no object", path, number)
		}
		if number == 1 {
			lines = e.Lines
		}
		into[e.Key] = e.Item
	}
	if lines > 0 && number != lines {
		return fmt.Errorf("reading %s: it has %s of %d: it was cut off, or added to", path, v1alpha1.Counted(number, "line"), lines)
	}
	return nil
}

// counted says whether an inventory of this folder has been counted before.
func (f *Folder) counted() bool {
	_, err := os.Stat(filepath.Join(f.dir, countedFile))
	return err == nil
}

// read returns what is in a file that need not exist.
func read(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && raw == nil {
		raw = []byte{}
	}
	return raw, err
}

// WriteInventory keeps what snapshot returns. What Note was told before is part of the snapshot, so the journal starts
// anew, unless it was written to meanwhile.
func (f *Folder) WriteInventory(snapshot func() Inventory) error {
	noted := f.journal.size()
	if err := f.writeAll(snapshot()); err != nil {
		return err
	}
	if err := syncFolder(f.dir); err != nil {
		return err
	}
	return f.journal.restart(noted)
}

// writeAll writes the inventory as a whole. That of nothing has no file.
func (f *Folder) writeAll(inventory Inventory) error {
	if !f.counted() {
		if err := os.WriteFile(filepath.Join(f.dir, countedFile), nil, 0o600); err != nil {
			return err
		}
	}
	if len(inventory) == 0 {
		err := os.Remove(filepath.Join(f.dir, "inventory.jsonl"))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	file, err := renameio.NewPendingFile(filepath.Join(f.dir, "inventory.jsonl"), renameio.WithPermissions(0o600), renameio.WithTempDir(f.dir))
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // after CloseAtomicallyReplace there is nothing left to clean up
	w := bufio.NewWriterSize(file, 256<<10)
	enc := json.NewEncoder(w)
	lines := len(inventory)
	for key, item := range inventory {
		if err := enc.Encode(entry{key, item, lines}); err != nil {
			return err
		}
		lines = 0 // it stands in the first
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

// Note keeps what was learnt of an object of the inventory until that is written as a whole, and says when that is due.
func (f *Folder) Note(key bundle.Key, item Item) (due bool, err error) {
	line, err := json.Marshal(entry{Key: key, Item: item})
	if err != nil {
		return false, err
	}
	return f.journal.append(append(line, '\n'))
}

// Noted says whether there is something in the journal that is not in the inventory.
func (f *Folder) Noted() bool { return f.journal.size() > 0 }

// maxJournal is how long the journal may become before the inventory is to be written.
const maxJournal = 1 << 20

// journal is a file that is appended to.
type journal struct {
	path string

	mu     sync.Mutex
	file   *os.File // nil until something is written
	length int64
}

func newJournal(path string) *journal {
	j := &journal{path: path}
	if info, err := os.Stat(path); err == nil {
		j.length = info.Size()
	}
	return j
}

// append writes a line, or nothing: what a full disk took in part is taken back.
func (j *journal) append(line []byte) (due bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		if err := j.open(); err != nil {
			return false, err
		}
	}
	if _, err := j.file.Write(line); err != nil {
		return false, errors.Join(err, j.file.Truncate(j.length))
	}
	j.length += int64(len(line))
	return j.length > maxJournal, nil
}

// open goes on with what an earlier process wrote, behind the end of its last line, which a crash may have cut off; the
// caller holds mu.
func (j *journal) open() error {
	file, err := os.OpenFile(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if j.length > 0 {
		if _, err := file.WriteString("\n"); err != nil {
			return errors.Join(err, file.Close())
		}
		j.length++
	}
	j.file = file
	return nil
}

func (j *journal) size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.length
}

// restart empties the journal when it is still as long as noted.
func (j *journal) restart(noted int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.length != noted {
		return nil
	}
	if err := os.Truncate(j.path, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.length = 0
	return nil
}

func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		_ = j.file.Close() // every write was looked at
		j.file = nil
	}
}
