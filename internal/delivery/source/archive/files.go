package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"umbel.dev/umbel/internal/delivery/source"
)

// Files is a file system in memory. Once it is filled it may be read from many goroutines.
type Files struct {
	entries map[string]*entry // by path; folders too
}

type entry struct {
	name    string
	mode    fs.FileMode
	content []byte
	inside  []string // names of what is in a folder
}

var (
	_ fs.ReadDirFS  = (*Files)(nil)
	_ fs.ReadFileFS = (*Files)(nil)
	_ fs.StatFS     = (*Files)(nil)
)

// NewFiles returns a file system with nothing in it.
func NewFiles() *Files {
	return &Files{entries: map[string]*entry{".": {name: ".", mode: fs.ModeDir | 0o555}}}
}

// errBlocked says that a file stands where a folder has to be, or a folder where a file has to be.
var errBlocked = errors.New("is a file and a folder at once")

// put adds a file, a link or a folder, and the folders above it. What has the same name is replaced.
func (f *Files) put(name string, mode fs.FileMode, content []byte) error {
	if there := f.entries[name]; there != nil {
		if there.mode.IsDir() != mode.IsDir() {
			return &fs.PathError{Op: "unpack", Path: name, Err: errBlocked}
		}
		if !mode.IsDir() {
			there.mode, there.content = mode, content
		}
		return nil
	}
	parent := path.Dir(name)
	if err := f.put(parent, fs.ModeDir|0o555, nil); err != nil {
		return err
	}
	base := path.Base(name)
	f.entries[name] = &entry{name: base, mode: mode, content: content}
	folder := f.entries[parent]
	at, _ := slices.BinarySearch(folder.inside, base)
	folder.inside = slices.Insert(folder.inside, at, base)
	return nil
}

func (f *Files) entry(op, name string) (*entry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	e := f.entries[name]
	if e == nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return e, nil
}

// Stat describes a file or a folder without following links.
func (f *Files) Stat(name string) (fs.FileInfo, error) {
	e, err := f.entry("stat", name)
	if err != nil {
		return nil, err
	}
	return e.info(), nil
}

// ReadDir lists a folder in the order of the names.
func (f *Files) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.entry("readdir", name)
	if err != nil {
		return nil, err
	}
	if !e.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("is no folder")}
	}
	entries := make([]fs.DirEntry, len(e.inside))
	for i, base := range e.inside {
		entries[i] = fs.FileInfoToDirEntry(f.entries[path.Join(name, base)].info())
	}
	return entries, nil
}

// ReadFile returns the bytes of a regular file.
func (f *Files) ReadFile(name string) ([]byte, error) {
	e, err := f.readable(name)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(e.content), nil
}

func (f *Files) readable(name string) (*entry, error) {
	e, err := f.entry("read", name)
	switch {
	case err != nil:
		return nil, err
	case e.mode.IsDir():
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	case e.mode&fs.ModeSymlink != 0:
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("links are not followed: put the file itself here")}
	}
	return e, nil
}

// Fingerprint returns the same for files of the same bytes, and for no others.
func (f *Files) Fingerprint(name string) (string, error) {
	e, err := f.readable(name)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(e.content)
	return hex.EncodeToString(sum[:]), nil
}

// Open opens a regular file or a folder.
func (f *Files) Open(name string) (fs.File, error) {
	e, err := f.entry("open", name)
	if err != nil {
		return nil, err
	}
	if e.mode.IsDir() {
		entries, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return source.OpenFolder(e.info(), entries), nil
	}
	if _, err := f.readable(name); err != nil {
		return nil, err
	}
	return source.OpenFile(e.info(), e.content), nil
}

// info describes an entry. It has no time: the same files are the same, whenever they were packed.
func (e *entry) info() source.Info {
	return source.Info{Base: e.name, Is: e.mode, Bytes: func() int64 { return int64(len(e.content)) }}
}

// local makes a name in an archive one of fs.FS, or says that it is none.
func local(name string) (string, error) {
	cleaned := path.Clean(strings.TrimPrefix(name, "./"))
	if strings.HasPrefix(name, "/") || !fs.ValidPath(cleaned) || strings.Contains(name, "\\") {
		return "", &fs.PathError{Op: "unpack", Path: name, Err: errors.New("leads out of the archive")}
	}
	return cleaned, nil
}

// Inside returns the files of the one folder that all of them are in, as in the archive of a chart.
func (f *Files) Inside() (*Files, error) {
	top := f.entries["."].inside
	if len(top) != 1 || !f.entries[top[0]].mode.IsDir() {
		return nil, fmt.Errorf("the archive holds %d entries where one folder has to be", len(top))
	}
	inner := NewFiles()
	for name, e := range f.entries {
		if rest, ok := strings.CutPrefix(name, top[0]+"/"); ok {
			inner.entries[rest] = e
		}
	}
	inner.entries["."].inside = f.entries[top[0]].inside
	return inner, nil
}
