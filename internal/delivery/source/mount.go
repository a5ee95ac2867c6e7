package source

import (
	"errors"
	"io/fs"
	"strings"
)

// Mounted is a file system that has others in folders of its own, which none of its listings shows.
type Mounted struct {
	files fs.FS
	// at are the others, each by its folder: two names, one below the other.
	at map[string]fs.FS
}

// Mount shows others in folders of a file system, each by a path of two names such as .bases/web. A file or folder of the first name in files
// themselves is an error.
func Mount(files fs.FS, at map[string]fs.FS) (*Mounted, error) {
	for name := range at {
		parent, _, _ := strings.Cut(name, "/")
		switch _, err := fs.Stat(files, parent); {
		case err == nil:
			return nil, &fs.PathError{Op: "mount", Path: parent, Err: fs.ErrExist}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return &Mounted{files, at}, nil
}

// find returns the file system that a path is in, and the path there.
func (m *Mounted) find(name string) (fs.FS, string) {
	parent, rest, _ := strings.Cut(name, "/")
	child, inside, deeper := strings.Cut(rest, "/")
	files, is := m.at[parent+"/"+child]
	switch {
	case !is:
		return m.files, name
	case !deeper:
		return files, "."
	case !fs.ValidPath(inside):
		return files, "" // which is no path there either
	}
	return files, inside
}

// Open implements fs.FS.
func (m *Mounted) Open(name string) (fs.File, error) {
	files, inside := m.find(name)
	return files.Open(inside)
}

// Stat implements fs.StatFS.
func (m *Mounted) Stat(name string) (fs.FileInfo, error) {
	files, inside := m.find(name)
	return fs.Stat(files, inside)
}

// ReadDir implements fs.ReadDirFS.
func (m *Mounted) ReadDir(name string) ([]fs.DirEntry, error) {
	files, inside := m.find(name)
	return fs.ReadDir(files, inside)
}

// ReadFile implements fs.ReadFileFS.
func (m *Mounted) ReadFile(name string) ([]byte, error) {
	files, inside := m.find(name)
	return fs.ReadFile(files, inside)
}

// Fingerprint implements Fingerprints.
func (m *Mounted) Fingerprint(name string) (string, error) {
	files, inside := m.find(name)
	if known, ok := files.(Fingerprints); ok {
		return known.Fingerprint(inside)
	}
	content, err := fs.ReadFile(files, inside)
	if err != nil {
		return "", err
	}
	return digest(content), nil
}

// ReadLink implements fs.ReadLinkFS. A link in one of them leads to nothing in another.
func (m *Mounted) ReadLink(name string) (string, error) {
	files, inside := m.find(name)
	return fs.ReadLink(files, inside)
}

// Lstat implements fs.ReadLinkFS.
func (m *Mounted) Lstat(name string) (fs.FileInfo, error) { return m.Stat(name) }
