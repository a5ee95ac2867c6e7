package render

import (
	"errors"
	"io/fs"

	"umbel.dev/umbel/internal/delivery/source"
)

// What can be looked at: what a file holds, what is in a folder, whether something is there, where a link leads.
const (
	lookFile   = "read"
	lookFolder = "list"
	lookStat   = "stat"
	lookLink   = "follow"
)

// asked is a look at a file system that is elsewhere.
type asked struct{ What, Name string }

// answer is what was there.
type answer struct {
	Mode    fs.FileMode
	Size    int64
	Content []byte // of a file, or where a link leads
	Entries []sentEntry
	// Err is empty when it worked. Missing and Invalid tell errors apart that whoever reads has to know.
	Err              string
	Missing, Invalid bool
}

type sentEntry struct {
	Name string
	Mode fs.FileMode
	Size int64
}

// answerTo looks at what was asked for.
func answerTo(files fs.FS, a asked) (got answer) {
	var err error
	switch a.What {
	case lookFile:
		got.Content, err = fs.ReadFile(files, a.Name)
	case lookLink:
		var target string
		target, err = fs.ReadLink(files, a.Name)
		got.Content = []byte(target)
	case lookFolder:
		var entries []fs.DirEntry
		entries, err = fs.ReadDir(files, a.Name)
		for _, entry := range entries {
			got.Entries = append(got.Entries, sentEntry{Name: entry.Name(), Mode: entry.Type()})
		}
	case lookStat:
		var info fs.FileInfo
		if info, err = fs.Stat(files, a.Name); err == nil {
			got.Mode, got.Size = info.Mode(), info.Size()
		}
	default:
		err = errors.New("nobody can look so")
	}
	if err != nil {
		return answer{Err: unwrapPath(err).Error(), Missing: errors.Is(err, fs.ErrNotExist), Invalid: errors.Is(err, fs.ErrInvalid)}
	}
	return got
}

// remoteFiles is a file system that is asked for elsewhere.
type remoteFiles struct {
	ask func(asked) (answer, error)
	// lost is set when nobody answers any more.
	lost error
}

func (r *remoteFiles) look(what, name string) (answer, error) {
	if r.lost != nil {
		return answer{}, r.lost
	}
	got, err := r.ask(asked{What: what, Name: name})
	switch {
	case err != nil:
		r.lost = err
		return answer{}, err
	case got.Missing:
		return answer{}, &fs.PathError{Op: what, Path: name, Err: fs.ErrNotExist}
	case got.Invalid:
		return answer{}, &fs.PathError{Op: what, Path: name, Err: fs.ErrInvalid}
	case got.Err != "":
		return answer{}, &fs.PathError{Op: what, Path: name, Err: errors.New(got.Err)}
	}
	return got, nil
}

// Open implements fs.FS.
func (r *remoteFiles) Open(name string) (fs.File, error) {
	info, err := r.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		entries, err := r.ReadDir(name)
		return source.OpenFolder(info, entries), err
	}
	content, err := r.ReadFile(name)
	return source.OpenFile(info, content), err
}

// Stat implements fs.StatFS.
func (r *remoteFiles) Stat(name string) (fs.FileInfo, error) {
	got, err := r.look(lookStat, name)
	if err != nil {
		return nil, err
	}
	return sentEntry{Name: base(name), Mode: got.Mode, Size: got.Size}.info(), nil
}

// ReadFile implements fs.ReadFileFS.
func (r *remoteFiles) ReadFile(name string) ([]byte, error) {
	got, err := r.look(lookFile, name)
	return got.Content, err
}

// ReadDir implements fs.ReadDirFS.
func (r *remoteFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	got, err := r.look(lookFolder, name)
	if err != nil {
		return nil, err
	}
	entries := make([]fs.DirEntry, len(got.Entries))
	for i, entry := range got.Entries {
		entries[i] = fs.FileInfoToDirEntry(entry.info())
	}
	return entries, nil
}

// ReadLink implements fs.ReadLinkFS.
func (r *remoteFiles) ReadLink(name string) (string, error) {
	got, err := r.look(lookLink, name)
	return string(got.Content), err
}

// Lstat implements fs.ReadLinkFS. A source shows links as such to whoever asks what is there.
func (r *remoteFiles) Lstat(name string) (fs.FileInfo, error) { return r.Stat(name) }

func base(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[i+1:]
		}
	}
	return name
}

// info describes an entry. The time is not sent: nothing that is rendered depends on it.
func (e sentEntry) info() source.Info {
	return source.Info{Base: e.Name, Is: e.Mode, Bytes: func() int64 { return e.Size }}
}
