package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"umbel.dev/umbel/internal/delivery/sealed"
	"umbel.dev/umbel/internal/delivery/source"
)

// errReadOnly is what kustomize gets when it tries to write, which only remote sources make it do.
var errReadOnly = errors.New("the source is read-only")

// kustomizeFiles shows an fs.FS to kustomize as a file system whose root is /. It looks into what kustomize reads:
// kustomization files are checked before they have an effect, and an error that kustomize would pass over is kept.
type kustomizeFiles struct {
	files fs.FS
	root  string // the folder that is built
	// components are added to its kustomization.
	components []string
	bases      bases

	rootFile    string // the name of its kustomization file
	keepOrigins bool   // it asks for the annotations of origins itself
	refused     error  // the first error that must not be passed over
	sealed      sealed.Sources
}

var _ filesys.FileSystem = (*kustomizeFiles)(nil)

// local makes a path of kustomize one of fs.FS.
func local(name string) string {
	if cleaned := strings.TrimPrefix(path.Clean("/"+name), "/"); cleaned != "" {
		return cleaned
	}
	return "."
}

func (k *kustomizeFiles) stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(k.files, local(name))
	k.keep(local(name), err)
	return info, err
}

// keep remembers an error that is no answer to "is it there?".
func (k *kustomizeFiles) keep(name string, err error) {
	if err != nil && k.refused == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
		k.refused = fmt.Errorf("%s: %w", name, unwrapPath(err))
	}
}

func (k *kustomizeFiles) IsDir(name string) bool {
	info, err := k.stat(name)
	return err == nil && info.IsDir()
}

func (k *kustomizeFiles) Exists(name string) bool {
	_, err := k.stat(name)
	return err == nil
}

// CleanedAbs says which folder a path is, or is in.
func (k *kustomizeFiles) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	info, err := k.stat(name)
	if err != nil {
		return "", "", fmt.Errorf("%q is not in the repository", local(name))
	}
	whole := path.Clean("/" + name)
	if info.IsDir() {
		return filesys.ConfirmedDir(whole), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(whole)), path.Base(whole), nil
}

func (k *kustomizeFiles) ReadDir(name string) ([]string, error) {
	entries, err := fs.ReadDir(k.files, local(name))
	if err != nil {
		k.keep(local(name), err)
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}

// ReadFile reads a file and checks it when it can tell kustomize to read something else.
func (k *kustomizeFiles) ReadFile(name string) ([]byte, error) {
	file := local(name)
	info, err := k.stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s: is a folder", file)
	}
	content, err := fs.ReadFile(k.files, file)
	if err != nil {
		k.keep(file, err)
		return nil, err
	}
	if err := k.sealed.Look(file, content); err != nil && k.refused == nil {
		k.refused = err
	}
	content, err = k.inspect(file, content)
	if err != nil && k.refused == nil {
		k.refused = err
	}
	return content, err
}

// inspect checks kustomization files and the configuration of kustomize's own plugins. To the kustomization that is
// built it adds the wish for origins, so that errors can name files.
func (k *kustomizeFiles) inspect(file string, content []byte) ([]byte, error) {
	if !isKustomization(path.Base(file)) {
		return content, k.inspectPlugin(file, content)
	}
	parsed, changed, err := readKustomization(file, content, k.bases)
	if path.Dir(file) == k.root {
		k.rootFile = path.Base(file)
	}
	switch {
	case err != nil || parsed == nil:
		return content, err
	case path.Dir(file) != k.root && changed:
		return marshal(file, parsed)
	case path.Dir(file) != k.root:
		return content, nil
	}
	wishes := texts(parsed["buildMetadata"])
	if k.keepOrigins = slices.Contains(wishes, "originAnnotations"); !k.keepOrigins {
		parsed["buildMetadata"] = append(wishes, "originAnnotations")
	}
	if len(k.components) > 0 {
		parsed["components"] = append(texts(parsed["components"]), k.components...)
	}
	return marshal(file, parsed)
}

func marshal(file string, changed kustomization) ([]byte, error) {
	raw, err := json.Marshal(changed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return raw, nil
}

// inspectPlugin refuses remote files in the configuration of a built-in generator or transformer.
func (k *kustomizeFiles) inspectPlugin(file string, content []byte) error {
	if !bytes.Contains(content, []byte("builtin")) || !isManifest(file) {
		return nil
	}
	for _, text := range split(content) {
		value, err := parse(text.bytes)
		if err != nil {
			continue // kustomize's to complain of
		}
		fields, _ := value.(map[string]any)
		if version, _ := fields["apiVersion"].(string); version != "builtin" {
			continue
		}
		if err := refuseRemote(file, "", fields); err != nil {
			return err
		}
	}
	return nil
}

// Open opens a file as it is, for reading.
func (k *kustomizeFiles) Open(name string) (filesys.File, error) {
	content, err := k.ReadFile(name)
	if err != nil {
		return nil, err
	}
	info, err := k.stat(name)
	if err != nil {
		return nil, err
	}
	return readOnly{source.OpenFile(info, content)}, nil
}

// Glob matches file names within one folder.
func (k *kustomizeFiles) Glob(pattern string) ([]string, error) {
	found, err := fs.Glob(k.files, local(pattern))
	if err != nil {
		return nil, err
	}
	for i, name := range found {
		found[i] = "/" + name
	}
	return found, nil
}

func (k *kustomizeFiles) Walk(name string, walk filepath.WalkFunc) error {
	return fs.WalkDir(k.files, local(name), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			k.keep(name, err)
			return walk("/"+name, nil, err)
		}
		info, err := entry.Info()
		return walk("/"+name, info, err)
	})
}

func (k *kustomizeFiles) Create(string) (filesys.File, error) { return nil, errReadOnly }
func (k *kustomizeFiles) Mkdir(string) error                  { return errReadOnly }
func (k *kustomizeFiles) MkdirAll(string) error               { return errReadOnly }
func (k *kustomizeFiles) RemoveAll(string) error              { return errReadOnly }
func (k *kustomizeFiles) WriteFile(string, []byte) error      { return errReadOnly }

// readOnly is an open file that takes no bytes.
type readOnly struct{ *source.File }

func (readOnly) Write([]byte) (int, error) { return 0, errReadOnly }

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }
