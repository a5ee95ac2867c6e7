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

	"umbel.dev/umbel/internal/delivery/bundle"
)

// Inventory is what a package may have put on the member.
type Inventory map[bundle.Key]Item

// Item is one object that the package may have put on the member. It enters the inventory before it is applied and
// leaves it after it is deleted, so that a crash in between loses nothing.
type Item struct {
	Version    string `json:"v"` // of the API
	Resource   string `json:"r"`
	Namespaced bool   `json:"n,omitempty"`
	Hash       uint64 `json:"h,omitempty"`
	UID        string `json:"u,omitempty"`
	Owned      uint64 `json:"o,omitempty"`
	Adopted    bool   `json:"a,omitempty"`
}

// entry is a key and its item as one line of a file.
type entry struct {
	Key  bundle.Key `json:"k"`
	Item Item       `json:"i"`
}

// ReadInventory returns what may be on the member, with what the journal says of it. It is empty when there never was
// an inventory.
func (f *Folder) ReadInventory() (Inventory, error) {
	inventory := Inventory{}
	path := filepath.Join(f.dir, "inventory.jsonl")
	raw, err := read(path)
	if err != nil {
		return nil, err
	}
	if err := entries(path, raw, func(e entry) { inventory[e.Key] = e.Item }); err != nil {
		return nil, err
	}
	noted, err := read(f.journal.path)
	if err != nil {
		return nil, err
	}
	noted = noted[:bytes.LastIndexByte(noted, '\n')+1] // the rest is a line that a crash cut off
	return inventory, entries(f.journal.path, noted, func(e entry) {
		if _, there := inventory[e.Key]; there {
			inventory[e.Key] = e.Item
		}
	})
}

// read returns what is in a file that need not exist.
func read(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return raw, err
}

func entries(path string, raw []byte, each func(entry)) error {
	number := 0
	for line := range bytes.Lines(raw) {
		number++
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("reading %s, line %d: %w", path, number, err)
		}
		each(e)
	}
	return nil
}

// WriteInventory keeps what snapshot returns. What Note was told before is part of the snapshot, so the journal starts
// anew, unless it was written to meanwhile.
func (f *Folder) WriteInventory(snapshot func() Inventory) error {
	noted := f.journal.size()
	file, err := renameio.NewPendingFile(filepath.Join(f.dir, "inventory.jsonl"), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer file.Cleanup() //nolint:errcheck // after CloseAtomicallyReplace there is nothing left to clean up
	w := bufio.NewWriterSize(file, 256<<10)
	enc := json.NewEncoder(w)
	for key, item := range snapshot() {
		if err := enc.Encode(entry{key, item}); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return f.journal.restart(noted)
}

// Note keeps what was learnt of an object of the inventory until that is written as a whole.
func (f *Folder) Note(key bundle.Key, item Item) error {
	line, err := json.Marshal(entry{key, item})
	if err != nil {
		return err
	}
	return f.journal.append(append(line, '\n'))
}

// Noted says whether there is something in the journal that is not in the inventory.
func (f *Folder) Noted() bool { return f.journal.size() > 0 }

// journal is a file that is appended to.
type journal struct {
	path string

	mu     sync.Mutex
	file   *os.File // nil until something is written
	length int64
}

func (j *journal) append(line []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	n, err := j.file.Write(line)
	j.length += int64(n)
	return err
}

// open goes on with what an earlier process wrote, without the line that a crash may have cut off; the caller holds mu.
func (j *journal) open() error {
	file, err := os.OpenFile(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(j.path)
	if err == nil {
		j.length = int64(bytes.LastIndexByte(raw, '\n') + 1)
		err = file.Truncate(j.length)
	}
	if err != nil {
		return errors.Join(err, file.Close())
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
