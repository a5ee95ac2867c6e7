package git

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"umbel.dev/umbel/internal/delivery/source"
)

// Tree is the files of a commit as a read-only file system, with the methods of fs.ReadDirFS, fs.ReadFileFS and
// fs.StatFS. Symbolic links have fs.ModeSymlink, and submodules that were not fetched fs.ModeIrregular; neither can be read.
// Those that were are folders. It is for one goroutine.
type Tree struct {
	storage  *filesystem.Storage
	folders  map[string]*folder // read so far, by path
	left     *source.Limits     // of it and its submodules
	modified time.Time
	broken   func()

	submodules map[string]source.Ref           // that are followed, by path
	enter      func(source.Ref) (*Tree, error) // opens one
	entered    map[string]*Tree                // those that were opened
}

// folder is a folder of a Tree. A folder may have tens of thousands of entries, each of which is looked for.
type folder struct {
	entries []object.TreeEntry
	byName  map[string]int // the first of each name
}

// newFolder refuses what git itself never writes: a name that leads elsewhere. Names need not be UTF-8.
func newFolder(tree *object.Tree) (*folder, error) {
	f := &folder{entries: tree.Entries, byName: make(map[string]int, len(tree.Entries))}
	for i, entry := range slices.Backward(f.entries) {
		if entry.Name == "" || entry.Name == "." || entry.Name == ".." || strings.Contains(entry.Name, "/") {
			return nil, fmt.Errorf("folder %s holds something that is called %q", tree.Hash, entry.Name)
		}
		f.byName[entry.Name] = i
	}
	return f, nil
}

// entry returns the entry of a name; nil when there is none.
func (f *folder) entry(name string) *object.TreeEntry {
	i, has := f.byName[name]
	if !has {
		return nil
	}
	return &f.entries[i]
}

// folder returns what a folder holds.
func (t *Tree) folder(name string) (*folder, error) {
	if known := t.folders[name]; known != nil {
		return known, nil
	}
	parent, err := t.folder(path.Dir(name))
	if err != nil {
		return nil, err
	}
	entry := parent.entry(path.Base(name))
	if entry == nil || entry.Mode != filemode.Dir {
		return nil, fs.ErrNotExist
	}
	tree, err := object.GetTree(t.storage, entry.Hash)
	if err != nil {
		t.broken()
		return nil, fmt.Errorf("%w: %w", errUnreadable, err) // not "does not exist": the parent names it
	}
	listed, err := newFolder(tree)
	if err != nil {
		return nil, err
	}
	t.folders[name] = listed
	return listed, nil
}

// Stat describes a file or a folder without following links.
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	if sub, rest, err := t.inside(name); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	} else if sub != nil && rest == "." {
		return source.Info{Base: path.Base(name), Is: fs.ModeDir | 0o555, Modified: t.modified}, nil
	} else if sub != nil {
		return sub.Stat(rest)
	}
	if name == "." {
		return source.Info{Base: ".", Is: fs.ModeDir | 0o555, Modified: t.modified}, nil
	}
	parent, err := t.folder(path.Dir(name))
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	entry := parent.entry(path.Base(name))
	if entry == nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return t.info(path.Dir(name), *entry), nil
}

// info describes an entry of a folder.
func (t *Tree) info(folder string, entry object.TreeEntry) source.Info {
	i := source.Info{Base: entry.Name, Modified: t.modified}
	switch {
	case t.isFolder(folder, entry):
		i.Is = fs.ModeDir | 0o555
	case entry.Mode == filemode.Symlink:
		i.Is = fs.ModeSymlink | 0o444
	case entry.Mode == filemode.Submodule:
		i.Is = fs.ModeIrregular | 0o444
	default:
		i.Is = 0o444
		i.Bytes = func() int64 {
			size, err := t.storage.EncodedObjectSize(entry.Hash)
			if err != nil {
				return 0
			}
			return size
		}
	}
	return i
}

// ReadDir lists a folder in the order of the names.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	if sub, rest, err := t.inside(name); err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	} else if sub != nil {
		return sub.ReadDir(rest)
	}
	listed, err := t.folder(name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	entries := make([]fs.DirEntry, len(listed.entries))
	for i, entry := range listed.entries {
		entries[i] = fs.FileInfoToDirEntry(t.info(name, entry))
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// ReadFile returns the bytes of a regular file.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	content, err := t.read(name)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return content, nil
}

func (t *Tree) read(name string) ([]byte, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, fs.ErrInvalid
	}
	if sub, rest, err := t.inside(name); err != nil || sub != nil && rest != "." {
		if err != nil {
			return nil, err
		}
		return sub.read(rest)
	}
	parent, err := t.folder(path.Dir(name))
	if err != nil {
		return nil, err
	}
	entry := parent.entry(path.Base(name))
	if entry == nil {
		return nil, fs.ErrNotExist
	}
	switch entry.Mode {
	case filemode.Symlink:
		return nil, errors.New("symbolic links are not followed: put the file itself here")
	case filemode.Submodule:
		return nil, errors.New("is a submodule: spec.source.git.recurseSubmodules fetches them")
	case filemode.Dir:
		return nil, errors.New("is a folder")
	}
	blob, err := object.GetBlob(t.storage, entry.Hash)
	if err != nil {
		t.broken()
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	t.left.Files--
	t.left.Bytes -= blob.Size
	if t.left.Files < 0 || t.left.Bytes < 0 {
		return nil, source.ErrTooLarge
	}
	return t.content(blob, entry.Hash)
}

// content reads a blob and compares it with its hash, since a mirror may have suffered.
func (t *Tree) content(blob *object.Blob, want plumbing.Hash) ([]byte, error) {
	reader, err := blob.Reader()
	if err != nil {
		t.broken()
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	defer reader.Close()
	content, err := io.ReadAll(reader)
	if err != nil {
		t.broken()
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if plumbing.ComputeHash(plumbing.BlobObject, content) != want {
		t.broken()
		return nil, errUnreadable
	}
	return content, nil
}

// Fingerprint implements source.Fingerprints: the hash that Git knows a file by. A link is not what it leads to.
func (t *Tree) Fingerprint(name string) (string, error) {
	if !fs.ValidPath(name) || name == "." {
		return "", fs.ErrInvalid
	}
	if sub, rest, err := t.inside(name); err != nil || sub != nil && rest != "." {
		if err != nil {
			return "", err
		}
		return sub.Fingerprint(rest)
	}
	parent, err := t.folder(path.Dir(name))
	if err != nil {
		return "", err
	}
	entry := parent.entry(path.Base(name))
	if entry == nil {
		return "", fs.ErrNotExist
	}
	return entry.Mode.String() + entry.Hash.String(), nil
}

// Open opens a regular file or a folder.
func (t *Tree) Open(name string) (fs.File, error) {
	about, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	if about.IsDir() {
		entries, err := t.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return source.OpenFolder(about, entries), nil
	}
	content, err := t.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return source.OpenFile(about, content), nil
}
