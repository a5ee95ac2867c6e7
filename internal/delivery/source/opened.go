package source

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"time"
)

// Info describes a file or a folder of a tree. It is a fs.FileInfo.
type Info struct {
	// Base is the last part of its path.
	Base string
	// Bytes says how many it has; nil for what has none. Few ask, and it may have to be looked up.
	Bytes func() int64
	// Is what it is.
	Is fs.FileMode
	// Modified is when; zero when the same files are the same at any time.
	Modified time.Time
}

// Name implements fs.FileInfo.
func (i Info) Name() string { return i.Base }

// Mode implements fs.FileInfo.
func (i Info) Mode() fs.FileMode { return i.Is }

// ModTime implements fs.FileInfo.
func (i Info) ModTime() time.Time { return i.Modified }

// IsDir implements fs.FileInfo.
func (i Info) IsDir() bool { return i.Is.IsDir() }

// Sys implements fs.FileInfo: there is nothing below it.
func (i Info) Sys() any { return nil }

// Size implements fs.FileInfo.
func (i Info) Size() int64 {
	if i.Bytes == nil {
		return 0
	}
	return i.Bytes()
}

// File is an open file of a tree, all of which is in memory.
type File struct {
	*bytes.Reader
	info fs.FileInfo
}

// OpenFile opens a file of some bytes.
func OpenFile(info fs.FileInfo, content []byte) *File { return &File{bytes.NewReader(content), info} }

// Stat implements fs.File.
func (f *File) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements fs.File.
func (f *File) Close() error { return nil }

// Folder is an open folder of a tree. It is a fs.ReadDirFile.
type Folder struct {
	info    fs.FileInfo
	entries []fs.DirEntry
}

// OpenFolder opens a folder that holds these.
func OpenFolder(info fs.FileInfo, entries []fs.DirEntry) *Folder { return &Folder{info, entries} }

// Stat implements fs.File.
func (f *Folder) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements fs.File.
func (f *Folder) Close() error { return nil }

// Read implements fs.File: a folder has no bytes.
func (f *Folder) Read([]byte) (int, error) { return 0, errors.New("is a folder") }

// ReadDir implements fs.ReadDirFile: it returns up to n entries.
func (f *Folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(f.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(f.entries) {
		n = len(f.entries)
	}
	entries := f.entries[:n]
	f.entries = f.entries[n:]
	return entries, nil
}
