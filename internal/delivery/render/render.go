package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"umbel.dev/umbel/internal/delivery/bundle"
)

// ErrEmpty says that a folder holds no object.
var ErrEmpty = errors.New("no object was found: a Package never becomes empty by accident; to take its objects away, delete the Package")

// maxErrors is how many errors one message names.
const maxErrors = 5

// Rendered is the objects of a folder, with the variables still in them.
type Rendered struct {
	// Variables that the objects refer to, such as cluster.labels.region, sorted.
	Variables []string

	usedIn  map[string]string // variable -> a file that refers to it
	objects []object
}

// object is one object and where it comes from.
type object struct {
	place place
	// fields of the object, as long as there is something to check or to put into them.
	fields map[string]any
	// id and raw are set when there is not: who the object is, and the object as JSON.
	id  bundle.ID
	raw json.RawMessage
}

// finish puts the variables' values in and turns the object into JSON.
func (o object) finish(values map[string]string) (object, error) {
	fields, err := substitute(o.fields, values)
	if err != nil {
		return object{}, fmt.Errorf("%s: %s: %w", o.place, identify(o.fields), err)
	}
	done := object{place: o.place, fields: fields.(map[string]any)}
	if err := check(done); err != nil {
		return object{}, err
	}
	done.id = identify(done.fields)
	if done.raw, err = json.Marshal(done.fields); err != nil {
		return object{}, fmt.Errorf("%s: %s: %w", o.place, done.id, err)
	}
	done.fields = nil
	return done, nil
}

// place is where an object stands in the source.
type place struct {
	file     string
	document int // counted from 1; 0 when the file has one only
	line     int // where the document begins; 0 when it is not known
}

func (p place) String() string {
	switch {
	case p.document > 0:
		return fmt.Sprintf("%s, document %d (line %d)", p.file, p.document, p.line)
	case p.line > 1:
		return fmt.Sprintf("%s (line %d)", p.file, p.line)
	default:
		return p.file
	}
}

// Objects renders the objects of a folder. Its error names what is wrong and where, up to five times.
func Objects(files fs.FS, folder string) (*Rendered, error) {
	folder = path.Clean(folder)
	found, err := read(files, folder)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("path %q: %w", folder, ErrEmpty)
	}
	return collect(found)
}

// collect checks what was found.
func collect(found []object) (*Rendered, error) {
	r := &Rendered{usedIn: map[string]string{}}
	var errs problems
	for _, o := range found {
		if err := check(o); err != nil {
			errs.add(err)
			continue
		}
		if err := r.add(o); err != nil {
			errs.add(err)
		}
	}
	errs.add(duplicates(r.objects))
	r.Variables = slices.Sorted(maps.Keys(r.usedIn))
	return r, errs.err()
}

// add takes a checked object over.
func (r *Rendered) add(o object) error {
	used, err := variables(o)
	if err != nil {
		return err
	}
	for _, name := range used {
		if _, known := r.usedIn[name]; !known {
			r.usedIn[name] = o.place.file
		}
	}
	o.id = identify(o.fields)
	if len(used) == 0 {
		if o, err = o.finish(nil); err != nil {
			return err
		}
	}
	r.objects = append(r.objects, o)
	return nil
}

// File returns a file that refers to the variable.
func (r *Rendered) File(variable string) string { return r.usedIn[variable] }

// Len is the number of objects.
func (r *Rendered) Len() int { return len(r.objects) }

// For returns the objects with the variables' values, given in the order of Variables, put in.
func (r *Rendered) For(values []string) ([]bundle.Entry, error) {
	if len(values) != len(r.Variables) {
		return nil, fmt.Errorf("%d values for %d variables", len(values), len(r.Variables))
	}
	known := make(map[string]string, len(values))
	for i, name := range r.Variables {
		known[name] = values[i]
	}
	var errs problems
	entries := make([]bundle.Entry, 0, len(r.objects))
	done := make([]object, 0, len(r.objects))
	for _, o := range r.objects {
		if o.raw == nil {
			var err error
			if o, err = o.finish(known); err != nil {
				errs.add(err)
				continue
			}
		}
		done = append(done, o)
		entries = append(entries, bundle.Entry{File: o.place.file, Object: o.raw})
	}
	errs.add(duplicates(done))
	if err := errs.err(); err != nil {
		return nil, err
	}
	return entries, nil
}

// duplicates finds objects that stand in the source twice, whatever the version of their API.
func duplicates(objects []object) error {
	seen := make(map[bundle.ID]place, len(objects))
	var errs problems
	for _, o := range objects {
		id, name := o.id, o.id.String()
		id.APIVersion = id.Group() + "/"
		if first, twice := seen[id]; twice {
			errs.add(fmt.Errorf("%s: %s stands in %s already", o.place, name, first))
			continue
		}
		seen[id] = o.place
	}
	return errs.err()
}

// problems collects errors and keeps the first few.
type problems struct {
	kept []string
	more int
}

func (p *problems) add(err error) {
	switch {
	case err == nil:
	case len(p.kept) < maxErrors:
		p.kept = append(p.kept, err.Error())
	default:
		p.more++
	}
}

func (p *problems) err() error {
	if len(p.kept) == 0 {
		return nil
	}
	text := strings.Join(p.kept, "; ")
	if p.more > 0 {
		text += fmt.Sprintf("; and %d more", p.more)
	}
	return errors.New(text)
}
