package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/sops"
)

// additions are what a Package says of kustomizations: Components that are added to the one at the path of the source, and Bases that
// any may refer to.
type additions struct {
	Components []string
	Bases      bases
}

// read returns the objects of a folder, by kustomize where it has a kustomization file.
func read(files fs.FS, folder string, add additions) ([]object, error) {
	entries, err := fs.ReadDir(files, folder)
	if err != nil {
		return nil, fmt.Errorf("reading folder %q: %w", folder, err)
	}
	for _, entry := range entries {
		if isKustomization(entry.Name()) && !entry.IsDir() {
			return build(files, folder, add)
		}
	}
	if len(add.Components) > 0 {
		return nil, fmt.Errorf("component %q of spec.variants has nothing to be added to: folder %q has no kustomization.yaml", add.Components[0], folder)
	}
	var objects []object
	for _, entry := range entries {
		found, err := readEntry(files, folder, entry, add.Bases)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func isKustomization(name string) bool {
	for _, known := range konfig.RecognizedKustomizationFileNames() {
		if name == known {
			return true
		}
	}
	return false
}

func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readEntry returns the objects of a file or a subfolder.
func readEntry(files fs.FS, folder string, entry fs.DirEntry, listed bases) ([]object, error) {
	name := path.Join(folder, entry.Name())
	switch {
	case strings.HasPrefix(entry.Name(), "."):
		return nil, nil
	case entry.IsDir():
		return read(files, name, additions{Bases: listed})
	case entry.Type()&fs.ModeIrregular != 0:
		return nil, fmt.Errorf("%s: it is a submodule: spec.source.git.recurseSubmodules fetches them", name)
	case !isManifest(entry.Name()) && entry.Type()&fs.ModeSymlink != 0 && leadsToFolder(files, name):
		return nil, fmt.Errorf("%s: symbolic links are not followed: put the files themselves here", name)
	case !isManifest(entry.Name()):
		return nil, nil
	}
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, unwrapPath(err))
	}
	objects, err := documents(name, content)
	if err != nil {
		return nil, err
	}
	var sources sealed.Sources
	if err := sources.Look(name, content); err != nil {
		return nil, err
	}
	return objects, seal(&sources, objects)
}

// seal has what SOPS encrypted travel with the objects that have it.
func seal(sources *sealed.Sources, objects []object) error {
	for _, o := range objects {
		err := sources.Seal(o.fields)
		if err == nil {
			continue
		}
		if id := identify(o.fields); !sops.IsCiphertext(id.APIVersion) && !sops.IsCiphertext(id.Kind) {
			return fmt.Errorf("%s: %s: %w", o.place, id, err)
		}
		return fmt.Errorf("%s: %w", o.place, err)
	}
	return nil
}

// refuseSealed refuses what SOPS encrypted where it cannot be verified any more.
func refuseSealed(objects []object, why string) error {
	for _, o := range objects {
		if sealed.Any(o.fields) {
			return fmt.Errorf("%s: %s: is encrypted by SOPS, %s", o.place, identify(o.fields), why)
		}
	}
	return nil
}

// leadsToFolder says whether a symbolic link leads to a folder of the same tree, in one step.
func leadsToFolder(files fs.FS, name string) bool {
	target, err := fs.ReadLink(files, name)
	if err != nil {
		return false
	}
	target = path.Join(path.Dir(name), target)
	if !fs.ValidPath(target) {
		return false
	}
	info, err := fs.Stat(files, target)
	return err == nil && info.IsDir()
}

// unwrapPath takes the path out of an error whose message will name it anyway.
func unwrapPath(err error) error {
	var known *fs.PathError
	if errors.As(err, &known) {
		return known.Err
	}
	return err
}

// documents reads the objects of one file.
func documents(file string, content []byte) ([]object, error) {
	texts := split(content)
	var objects []object
	for i, text := range texts {
		at := place{file: file, line: text.line}
		if len(texts) > 1 {
			at.document = i + 1
		}
		value, err := parse(text.bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", place{file: file, document: at.document, line: at.line}, inFile(err, text.line))
		}
		found, err := flatten(at, value)
		if err != nil {
			return nil, err
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

type document struct {
	bytes []byte
	line  int // of the file, counted from 1
}

// split cuts a file at the lines that begin a document. Documents of nothing but space and comments are left out.
func split(content []byte) []document {
	content = bytes.TrimPrefix(content, []byte("\ufeff"))
	var documents []document
	current := document{line: 1}
	flush := func() {
		if !isBlank(current.bytes) {
			documents = append(documents, current)
		}
	}
	number := 0
	for line := range bytes.Lines(content) {
		number++
		if rest, begins := bytes.CutPrefix(line, []byte("---")); begins && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			flush()
			current = document{line: number}
			line = append([]byte("   "), rest...) // what follows the marker belongs to the document
		}
		current.bytes = append(current.bytes, line...)
	}
	flush()
	for i := range documents {
		documents[i].trimStart()
	}
	return documents
}

// trimStart drops blank lines at the start, so that the line is that of the first words.
func (d *document) trimStart() {
	for len(d.bytes) > 0 {
		end := bytes.IndexByte(d.bytes, '\n') + 1
		if end == 0 || !isBlank(d.bytes[:end]) {
			return
		}
		d.bytes = d.bytes[end:]
		d.line++
	}
}

func isBlank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

// parse reads one document as Kubernetes does. A key that is there twice is an error.
func parse(text []byte) (any, error) {
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	return decode(raw)
}

// decode reads JSON and keeps numbers as they are written.
func decode(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return value, nil
}

var lineNumber = regexp.MustCompile(`line (\d+)`)

// inFile makes the lines that a parser's error names lines of the file, and the error one line.
func inFile(err error, begins int) string {
	text := strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "error converting YAML to JSON: ", "")), " ")
	return lineNumber.ReplaceAllStringFunc(text, func(match string) string {
		n, err := strconv.Atoi(strings.TrimPrefix(match, "line "))
		if err != nil {
			return match
		}
		return fmt.Sprintf("line %d", n+begins-1)
	})
}

// flatten returns the object, or the objects of a List.
func flatten(at place, value any) ([]object, error) {
	if value == nil {
		return nil, nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%s: holds %s where an object has to be", at, describe(value))
	}
	kind, _ := fields["kind"].(string)
	items, isList := fields["items"].([]any)
	if !isList || !strings.HasSuffix(kind, "List") {
		return []object{{place: at, fields: fields}}, nil
	}
	var objects []object
	for i, item := range items {
		found, err := flatten(at, item)
		if err != nil {
			return nil, fmt.Errorf("item %d of a %s: %w", i, kind, err)
		}
		objects = append(objects, found...)
	}
	return objects, nil
}

func describe(value any) string {
	switch value.(type) {
	case nil:
		return "nothing"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Number, float64, int64:
		return "a number"
	case []any:
		return "a list"
	default:
		return "a map"
	}
}
