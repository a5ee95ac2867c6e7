package render

import (
	"bufio"
	"crypto/sha256"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// stored is a file that holds what was rendered, one object after the other, so that neither writing nor reading it takes
// much more memory than the objects. It is believed by its digest, and synced by nobody: one that a crash of the machine
// cuts short belongs to a process that is gone.
type stored struct {
	path string
	size int64
	sum  digest
}

// storedHead begins a file.
type storedHead struct {
	Variables, LeftOut []string
	UsedIn             map[string]string
	Objects            int
}

// storedObject is an object in a file. Without an ID there is something to put into it yet.
type storedObject struct {
	File           string
	Document, Line int
	Wanted         [][]string
	ID             bundle.ID
	JSON           []byte
}

// errNotAsWritten says that a file is not what was written.
var errNotAsWritten = errors.New("it is not what was written")

// store writes what was rendered to a new file of a folder.
func store(dir string, r *Rendered) (stored, error) {
	file, err := os.CreateTemp(dir, "*.rendered")
	if err != nil {
		return stored{}, err
	}
	s := stored{path: file.Name()}
	sum, counted := sha256.New(), &counter{}
	buffered := bufio.NewWriter(io.MultiWriter(file, sum, counted))
	err = r.write(gob.NewEncoder(buffered))
	if flushed := buffered.Flush(); err == nil {
		err = flushed
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return stored{}, errors.Join(fmt.Errorf("writing %s: %w", s.path, err), s.remove())
	}
	sum.Sum(s.sum[:0])
	s.size = counted.bytes
	return s, nil
}

func (r *Rendered) write(to *gob.Encoder) error {
	if err := to.Encode(storedHead{Variables: r.Variables, LeftOut: r.LeftOut, UsedIn: r.usedIn, Objects: len(r.objects)}); err != nil {
		return err
	}
	for _, o := range r.objects {
		written := storedObject{File: o.place.file, Document: o.place.document, Line: o.place.line, Wanted: o.wanted, ID: o.id, JSON: o.raw}
		if o.raw == nil {
			var err error
			if written.JSON, err = json.Marshal(o.fields); err != nil {
				return err
			}
			written.ID = bundle.ID{}
		}
		if err := to.Encode(written); err != nil {
			return err
		}
	}
	return nil
}

// load reads what was rendered, if the file is what was written.
func (s stored) load() (*Rendered, error) {
	file, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := s.verify(file); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := readRendered(gob.NewDecoder(bufio.NewReader(file)))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.path, err)
	}
	return r, nil
}

func (s stored) verify(file io.Reader) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(file, s.size+1)); err != nil {
		return err
	}
	if digest(sum.Sum(nil)) != s.sum {
		return errNotAsWritten
	}
	return nil
}

func readRendered(from *gob.Decoder) (*Rendered, error) {
	var head storedHead
	if err := from.Decode(&head); err != nil {
		return nil, err
	}
	r := &Rendered{Variables: head.Variables, LeftOut: head.LeftOut, usedIn: head.UsedIn, objects: make([]object, head.Objects)}
	if r.usedIn == nil {
		r.usedIn = map[string]string{}
	}
	for i := range r.objects {
		var read storedObject
		if err := from.Decode(&read); err != nil {
			return nil, err
		}
		o := object{place: place{file: read.File, document: read.Document, line: read.Line}, wanted: read.Wanted, id: read.ID, raw: read.JSON}
		if read.ID == (bundle.ID{}) {
			value, err := decode(read.JSON)
			if err != nil {
				return nil, err
			}
			o.fields, _ = value.(map[string]any)
			o.id, o.raw = identify(o.fields), nil
		}
		r.objects[i] = o
	}
	return r, nil
}

// remove removes the file. It may be repeated.
func (s stored) remove() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// counter counts what is written to it.
type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
