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
	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/variable"
)

// ErrEmpty says that a folder holds no object.
var ErrEmpty = errors.New("no object was found: a Package never becomes empty by accident; to take its objects away, delete the Package")

// ErrNothing says that selectors leave no object for some clusters.
var ErrNothing = errors.New("the selectors of its objects leave none")

// maxErrors is how many errors one message names.
const maxErrors = 5

// Rendered is the objects of a folder, with the variables still in them.
type Rendered struct {
	// Variables by which what clusters get differs, sorted: those that the objects refer to, such as
	// cluster.labels.region, and the selectors that say where an object is wanted.
	Variables []string
	// LeftOut names what the source has and is not among the objects, and why, sorted: hooks of a chart.
	LeftOut []string

	usedIn  map[string]string // variable -> a file that refers to it
	objects []object
	given   map[string]any // values of the Package's own variables
	origin  string         // names what it was made of, when that is known
}

// object is one object and where it comes from.
type object struct {
	place place
	// wanted says on which clusters.
	wanted condition
	// fields of the object, as long as there is something to check or to put into them.
	fields map[string]any
	// id and raw are set when there is not: who the object is, and the object as JSON.
	id  bundle.ID
	raw json.RawMessage
}

// finish puts the variables' values in and turns the object into JSON.
func (o object) finish(values values) (object, error) {
	fields, err := values.substitute(o.open())
	if err != nil {
		return object{}, fmt.Errorf("%s: %s: %w", o.place, identify(o.fields), err)
	}
	done := object{place: o.place, wanted: o.wanted, fields: fields.(map[string]any)}
	if err := check(done); err != nil {
		return object{}, err
	}
	if files, has := o.fields[sealed.Field].([]any); has {
		done.fields[sealed.Field] = files
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

// Folder is the Maker of a folder of files, the kustomizations of which may refer to these remote bases, and to no others.
func Folder(files fs.FS, folder string, remote ...Base) Maker {
	return folderBy(read, files, folder, remote...)
}

func folderBy(read reader, files fs.FS, folder string, remote ...Base) Maker {
	folder = path.Clean(folder)
	return func(choice Choice) (*Rendered, error) {
		if err := choice.noChart(fmt.Sprintf("path %q", folder)); err != nil {
			return nil, err
		}
		found, err := read(files, folder, additions{choice.Components, remote})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("path %q: %w", folder, ErrEmpty)
		}
		if err := refuseHooks(found); err != nil {
			return nil, err
		}
		rendered, err := collect(folder, found)
		if err == nil && rendered.Len() == 0 {
			return nil, fmt.Errorf("path %q: everything in it is left out: %w", folder, ErrEmpty)
		}
		return rendered, err
	}
}

// Objects renders the objects of a folder. Its error names what is wrong and where, up to five times.
func Objects(files fs.FS, folder string) (*Rendered, error) { return Folder(files, folder)(Choice{}) }

// collect checks what was found below a folder.
func collect(folder string, found []object) (*Rendered, error) {
	r := &Rendered{usedIn: map[string]string{}}
	var errs problems
	for _, o := range found {
		if !isLocal(o) {
			errs.add(check(o))
		}
	}
	if err := errs.err(); err != nil {
		return r, err
	}
	found, err := settle(folder, found)
	if err != nil {
		return r, err
	}
	uses := uses{}
	for _, o := range found {
		errs.add(r.add(o, uses))
	}
	r.Variables = uses.variables(r.usedIn)
	errs.add(duplicates(slices.DeleteFunc(slices.Clone(r.objects), func(o object) bool { return len(o.wanted) > 0 })))
	return r, errs.err()
}

// add takes a checked object over.
func (r *Rendered) add(o object, uses uses) error {
	used, err := variables(o)
	if err != nil {
		return err
	}
	uses.note(o, used)
	o.id = identify(o.fields)
	if len(used) == 0 {
		if o, err = o.finish(values{}); err != nil {
			return err
		}
	}
	r.objects = append(r.objects, o)
	return nil
}

// uses are the variables of the cluster that objects refer to: variable -> selector that guards it, or none -> file.
type uses map[string]map[string]string

func (u uses) note(o object, used []string) {
	guard := ""
	for _, clause := range o.wanted {
		for _, selector := range clause {
			u.put(selector, "", o.place.file)
		}
		if len(clause) == 1 && guard == "" {
			guard = clause[0]
		}
	}
	for _, name := range used {
		if !strings.HasPrefix(name, ofPackage) {
			u.put(name, guard, o.place.file)
		}
	}
}

func (u uses) put(name, guard, file string) {
	if u[name] == nil {
		u[name] = map[string]string{}
	}
	if _, known := u[name][guard]; !known {
		u[name][guard] = file
	}
}

// variables lists them, sorted, and notes the files. Where every object that refers to one is wanted on some clusters
// only, others need not have it.
func (u uses) variables(files map[string]string) []string {
	for name, guards := range u {
		if file, everywhere := guards[""]; everywhere {
			files[name] = file
			continue
		}
		for selector, file := range guards {
			files[variable.Guarded(selector, name)] = file
		}
	}
	return slices.Sorted(maps.Keys(files))
}

// with returns the same objects for other values of the Package's own variables.
func (r *Rendered) with(given map[string]any) *Rendered {
	copied := *r
	copied.given = given
	return &copied
}

// File returns a file that refers to the variable.
func (r *Rendered) File(variable string) string { return r.usedIn[variable] }

// Len is the number of objects, wherever they are wanted.
func (r *Rendered) Len() int { return len(r.objects) }

// For returns the objects with the variables' values, given in the order of Variables, put in. That no object is wanted
// is an error: ErrNothing.
func (r *Rendered) For(own []string) ([]bundle.Entry, error) {
	if len(own) != len(r.Variables) {
		return nil, fmt.Errorf("%d values for %d variables", len(own), len(r.Variables))
	}
	known := make(map[string]string, len(own))
	for i, name := range r.Variables {
		known[name] = own[i]
	}
	for i, name := range r.Variables {
		if selector, inner := variable.Unguarded(name); selector != "" && known[selector] == "true" {
			known[inner] = own[i]
		}
	}
	var errs problems
	done := make([]object, 0, len(r.objects))
	for _, o := range r.objects {
		if !o.wanted.holds(known) {
			continue
		}
		if o.raw == nil {
			finished, err := o.finish(values{cluster: known, given: r.given})
			if unset := (*UnsetError)(nil); errors.As(err, &unset) {
				return nil, err // it concerns these clusters alone
			}
			if err != nil {
				errs.add(err)
				continue
			}
			o = finished
		}
		done = append(done, o)
	}
	errs.add(duplicates(done))
	errs.add(orders(done))
	if err := errs.err(); err != nil {
		return nil, err
	}
	if len(done) == 0 {
		return nil, ErrNothing
	}
	entries := make([]bundle.Entry, len(done))
	for i, o := range done {
		entries[i] = bundle.Entry{File: o.place.file, Object: o.raw}
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
