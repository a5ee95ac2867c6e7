package disk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

// DefaultHistory is how many bytes a history may take: some thirty thousand entries.
const DefaultHistory = 8 << 20

// History is what happened to the objects of packages, a line for each. A file that has half of the bytes becomes the old one, and the
// old one before it goes: so the last half at least is there. It holds names of objects, fields and people, and no value. It is safe for
// concurrent use.
type History struct {
	dir  string
	most int64

	mu   sync.Mutex
	file *journal // nil until something is written
	last int64    // the highest id that was given, also before this process; known when file is
}

const (
	historyFile = "history.jsonl"
	oldHistory  = "history.old.jsonl"
)

// OpenHistory returns the history in the folder, of at most so many bytes. Nothing is read or written yet.
func OpenHistory(dir string, most int64) *History { return &History{dir: dir, most: most} }

// naming is a line that says of an earlier one who it was, which an audit log tells some time after it happened.
type naming struct {
	Of   int64  `json:"of"`
	User string `json:"user,omitempty"`
	By   string `json:"by,omitempty"`
}

// Add writes an entry down, and returns the id that it gave it: a higher one than all before, whatever the clock says. It survives the
// process, and may be lost with the power.
func (h *History) Add(entry v1alpha1.HistoryEntry, now time.Time) (id int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.goOn(); err != nil {
		return 0, err
	}
	entry.ID = max(h.last+1, now.UnixMicro())
	if err := h.write(entry); err != nil {
		return 0, err
	}
	h.last = entry.ID
	return entry.ID, nil
}

// Name writes down who did what the entry with the id is about, as the field manager by.
func (h *History) Name(id int64, user, by string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.goOn(); err != nil {
		return err
	}
	return h.write(naming{Of: id, User: user, By: by})
}

// goOn takes up what an earlier process wrote, unless it has been; the caller holds mu.
func (h *History) goOn() error {
	if h.file != nil {
		return nil
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	files, err := h.files()
	if err != nil {
		return err
	}
	defer files.close()
	err = files.eachLine(func(line []byte) error {
		var entry struct {
			ID int64 `json:"id"`
		}
		if json.Unmarshal(line, &entry) == nil {
			h.last = max(h.last, entry.ID)
		}
		return nil
	})
	if err != nil {
		return err
	}
	h.file = newJournal(h.path(historyFile))
	return nil
}

// write adds a line; the caller holds mu, and has gone on with the file.
func (h *History) write(line any) error {
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	half := h.most / 2
	if int64(len(raw)) > half-1 { // with the end of a line that a crash cut off
		return fmt.Errorf("an entry of %d bytes does not fit into %d", len(raw), half)
	}
	if h.file.size()+1+int64(len(raw)) > half {
		if err := h.turn(); err != nil {
			return err
		}
	}
	_, err = h.file.append(raw)
	return err
}

// turn makes the file the old one, in one step that a crash does not divide; the caller holds mu.
func (h *History) turn() error {
	h.file.close()
	if err := os.Rename(h.path(historyFile), h.path(oldHistory)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	h.file = newJournal(h.path(historyFile))
	return nil
}

func (h *History) path(name string) string { return filepath.Join(h.dir, name) }

// Read yields what happened since a time, in the order in which it was written down, until yield returns an error or ctx ends. A line that
// a crash cut off is passed over. What is added meanwhile may be there or not, and neither waits for the other.
func (h *History) Read(ctx context.Context, since time.Time, yield func(v1alpha1.HistoryEntry) error) error {
	files, err := h.open()
	if err != nil {
		return err
	}
	defer files.close()
	names := map[int64]naming{}
	err = files.eachLine(func(line []byte) error {
		var n naming
		if bytes.HasPrefix(line, []byte(`{"of":`)) && json.Unmarshal(line, &n) == nil {
			names[n.Of] = n
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return files.eachLine(func(line []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var entry v1alpha1.HistoryEntry
		if err := json.Unmarshal(line, &entry); err != nil || entry.ID == 0 || entry.Time.Time.Before(since) {
			return nil
		}
		if n, known := names[entry.ID]; known {
			entry.User, entry.By = n.User, n.By
		}
		return yield(entry)
	})
}

// open returns the files as they are now; they stay readable when they are replaced.
func (h *History) open() (files, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files()
}

// files are those that are there; the caller holds mu.
func (h *History) files() (there files, err error) {
	for _, name := range []string{oldHistory, historyFile} {
		file, err := os.Open(h.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			there.close()
			return nil, err
		}
		there = append(there, file)
	}
	return there, nil
}

// files are those of a history, the old one first.
type files []*os.File

func (f files) close() {
	for _, file := range f {
		file.Close() //nolint:errcheck // it was read
	}
}

// eachLine calls do for the lines of the files, from the beginning, until it returns an error. The last one may lack its end, as it is being
// written, or was cut off.
func (f files) eachLine(do func(line []byte) error) error {
	for _, file := range f {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		lines := bufio.NewReaderSize(file, 64<<10)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if failed := do(line); failed != nil {
				return failed
			}
			if err != nil {
				break
			}
		}
	}
	return nil
}
