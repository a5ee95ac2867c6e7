package source

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Trace is a file system that notes what is asked of another one. It holds that one with all that it has read, so it lives as
// long as something is made of it; what stays is its Record.
type Trace struct {
	files fs.FS

	mu    sync.Mutex
	asked map[question]string // and the answer, in short
}

// question is what can be asked of a file system.
type question struct {
	what what
	name string
}

type what byte

const (
	stat what = iota
	list
	read
)

// Fingerprints is a file system that knows files by something shorter than their bytes, without reading them.
type Fingerprints interface {
	// Fingerprint returns the same for files of the same bytes, and for no others.
	Fingerprint(name string) (string, error)
}

// NewTrace returns a file system that answers as files does.
func NewTrace(files fs.FS) *Trace {
	return &Trace{files: files, asked: map[question]string{}}
}

// unknown is what is remembered of an answer that says nothing: nothing is the same as it.
const unknown = ""

func (t *Trace) ask(what what, name string) {
	q := question{what, name}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, asked := t.asked[q]; asked {
		return
	}
	short, known := answer(t.files, q)
	if !known {
		short = unknown
	}
	t.asked[q] = short
}

// answer asks a question, and returns the answer in short.
func answer(files fs.FS, q question) (string, bool) {
	var short string
	var err error
	switch q.what {
	case stat:
		var info fs.FileInfo
		if info, err = fs.Stat(files, q.name); err == nil {
			short = "is " + info.Mode().String()
		}
	case list:
		var entries []fs.DirEntry
		if entries, err = fs.ReadDir(files, q.name); err == nil {
			var names strings.Builder
			for _, entry := range entries {
				fmt.Fprintf(&names, "%s %q\n", entry.Type(), entry.Name())
			}
			short = "holds " + digest([]byte(names.String()))
		}
	case read:
		if known, ok := files.(Fingerprints); ok {
			short, err = known.Fingerprint(q.name)
			break
		}
		var content []byte
		if content, err = fs.ReadFile(files, q.name); err == nil {
			short = digest(content)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is not there", true
	case errors.Is(err, fs.ErrInvalid):
		return "is no name", true
	case err != nil:
		return "", false
	}
	return short, true
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Stat implements fs.StatFS.
func (t *Trace) Stat(name string) (fs.FileInfo, error) {
	t.ask(stat, name)
	return fs.Stat(t.files, name)
}

// ReadDir implements fs.ReadDirFS.
func (t *Trace) ReadDir(name string) ([]fs.DirEntry, error) {
	t.ask(list, name)
	return fs.ReadDir(t.files, name)
}

// ReadFile implements fs.ReadFileFS.
func (t *Trace) ReadFile(name string) ([]byte, error) {
	t.ask(read, name)
	return fs.ReadFile(t.files, name)
}

// Fingerprint implements Fingerprints, so that a trace of a trace costs no more than one.
func (t *Trace) Fingerprint(name string) (string, error) {
	t.ask(read, name)
	if known, ok := t.files.(Fingerprints); ok {
		return known.Fingerprint(name)
	}
	content, err := fs.ReadFile(t.files, name)
	if err != nil {
		return "", err
	}
	return digest(content), nil
}

// Record returns what was asked and answered so far. Where an answer says nothing there is none.
func (t *Trace) Record() (record *Record, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	questions := slices.SortedFunc(maps.Keys(t.asked), func(a, b question) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.what, b.what))
	})
	answers := newAnswers()
	for _, q := range questions {
		if t.asked[q] == unknown {
			return nil, false
		}
		answers.add(q, t.asked[q])
	}
	return &Record{questions: pack(questions), answers: answers.sum()}, true
}

// Open implements fs.FS. What is opened may be read or listed.
func (t *Trace) Open(name string) (fs.File, error) {
	info, err := t.Stat(name)
	switch {
	case err == nil && info.IsDir():
		t.ask(list, name)
	case err == nil:
		t.ask(read, name)
	}
	return t.files.Open(name)
}

// ReadLink implements fs.ReadLinkFS. Where a link leads is asked seldom, and never the same twice.
func (t *Trace) ReadLink(name string) (string, error) {
	t.mu.Lock()
	t.asked[question{read, name}] = unknown
	t.mu.Unlock()
	return fs.ReadLink(t.files, name)
}

// Lstat implements fs.ReadLinkFS.
func (t *Trace) Lstat(name string) (fs.FileInfo, error) { return t.Stat(name) }
