package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/yaml"
)

// originAnnotation is where kustomize says which file an object comes from.
const originAnnotation = "config.kubernetes.io/origin"

// kustomizing is held while kustomize runs: it keeps the schema of the build in a variable of its package.
var kustomizing sync.Mutex

// build returns the objects of a folder with a kustomization file, to which components are added.
func build(files fs.FS, folder string, add additions) ([]object, error) {
	tree := &kustomizeFiles{files: files, root: folder, bases: add.Bases}
	for _, component := range add.Components {
		at, err := tree.bases.resolve(folder, "spec.variants: kustomize.components", component)
		if err != nil {
			return nil, err
		}
		tree.components = append(tree.components, at)
	}
	built, err := run(tree)
	if tree.refused != nil {
		return nil, tree.refused // kustomize takes what it cannot read for missing, and goes on
	}
	if err != nil {
		return nil, fmt.Errorf("building the kustomization in %q: %w", folder, shorten(err))
	}
	objects := make([]object, 0, built.Size())
	for _, resource := range built.Resources() {
		raw, err := resource.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("building the kustomization in %q: %s: %w", folder, resource.CurId(), err)
		}
		value, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("building the kustomization in %q: %s: %w", folder, resource.CurId(), err)
		}
		fields, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("building the kustomization in %q: %s is %s", folder, resource.CurId(), describe(value))
		}
		objects = append(objects, object{place: place{file: tree.origin(fields)}, fields: fields})
	}
	return objects, seal(&tree.sealed, objects)
}

// run runs kustomize, which panics where others return an error.
func run(tree *kustomizeFiles) (built resmap.ResMap, err error) {
	kustomizing.Lock()
	defer kustomizing.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("kustomize gave up: %v", cause)
		}
	}()
	options := krusty.MakeDefaultOptions()
	options.PluginConfig = types.DisabledPluginConfig()
	return krusty.MakeKustomizer(options).Run(tree, path.Join("/", tree.root))
}

// shorten takes out of kustomize's errors what it tried before, which hides what is wrong.
func shorten(err error) error {
	text := err.Error()
	if _, last, found := cutLast(text, "must resolve to a file': "); found {
		text = last // a folder is tried as a file first
	}
	if _, tried, found := cutLast(text, "accumulation err='"); found {
		if reason, _, found := strings.Cut(tried, "': must build at directory"); found {
			text = reason // and a file as a folder then
		}
	}
	return errors.New(strings.Join(strings.Fields(text), " "))
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

// origin takes the annotation that says where an object comes from off the object, unless the source asks for it, and
// returns the file.
func (k *kustomizeFiles) origin(fields map[string]any) string {
	file := path.Join(k.root, k.rootFile)
	metadata, _ := fields["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	text, ok := annotations[originAnnotation].(string)
	if !ok {
		return file
	}
	var origin struct {
		Path         string `json:"path"`
		ConfiguredIn string `json:"configuredIn"`
	}
	if err := yaml.Unmarshal([]byte(text), &origin); err == nil {
		if from := origin.Path + origin.ConfiguredIn; from != "" {
			file = path.Join(k.root, from)
		}
	}
	if !k.keepOrigins {
		delete(annotations, originAnnotation)
		if len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
	return file
}

// kustomization is a kustomization file as it stands in the source.
type kustomization map[string]any

// readKustomization parses a kustomization file, puts in where remote bases are that are listed, and refuses what reaches outside of the
// source otherwise. changed says whether it is not what the file says any more.
func readKustomization(file string, content []byte, listed bases) (k kustomization, changed bool, err error) {
	raw, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %s", file, inFile(err, 1))
	}
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, false, fmt.Errorf("%s: is no kustomization: %w", file, err)
	}
	if err := wellWritten(file, k); err != nil {
		return nil, false, err
	}
	for _, field := range chartFields {
		if _, given := k[field]; given {
			return nil, false, fmt.Errorf("%s: %s: charts are not rendered from a kustomization: have a Package of the chart itself, see spec.helm", file, field)
		}
	}
	for _, field := range baseFields {
		entries := texts(k[field])
		for i, entry := range entries {
			if strings.Contains(entry, "\n") {
				continue // YAML written in place
			}
			if entries[i], err = listed.resolve(path.Dir(file), fmt.Sprintf("%s: %s[%d]", file, field, i), entry); err != nil {
				return nil, false, err
			}
			if entries[i] != entry {
				k[field], changed = entries, true
			}
		}
	}
	return k, changed, refuseRemote(file, "", map[string]any(k))
}

// chartFields are the fields that would have kustomize run Helm.
var chartFields = []string{"helmCharts", "helmChartInflationGenerator", "helmGlobals"}

// wellWritten refuses fields that kustomize reads whatever their case, and others look for as they are written.
func wellWritten(file string, k kustomization) error {
	for _, key := range sortedKeys(k) {
		for _, field := range slices.Concat(references, chartFields, []string{"buildMetadata"}) {
			if key != field && strings.EqualFold(key, field) {
				return fmt.Errorf("%s: %s: write it as %s", file, key, field)
			}
		}
	}
	return nil
}

// references are the fields whose values kustomize takes for files, folders or addresses, at any depth.
var references = []string{
	"bases", "components", "configurations", "crds", "env", "envs", "files", "generators", "path",
	"patchesStrategicMerge", "resources", "transformers", "validators",
}

// refuseRemote finds references that leave the repository. Text of several lines is YAML written in place.
func refuseRemote(file, field string, value any) error {
	switch value := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(value) {
			if slices.ContainsFunc(references, func(field string) bool { return strings.EqualFold(field, key) }) {
				for i, entry := range texts(value[key]) {
					if err := refuseReference(file, fmt.Sprintf("%s[%d]", join(field, key), i), entry); err != nil {
						return err
					}
				}
			}
			if err := refuseRemote(file, join(field, key), value[key]); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range value {
			if err := refuseRemote(file, fmt.Sprintf("%s[%d]", field, i), item); err != nil {
				return err
			}
		}
	}
	return nil
}

func join(field, key string) string {
	if field == "" {
		return key
	}
	return field + "." + key
}

func refuseReference(file, field, entry string) error {
	if !strings.Contains(entry, "\n") {
		// A file of a generator may be KEY=FILE.
		_, source, keyed := strings.Cut(entry, "=")
		if isRemote(entry) || keyed && isRemote(source) {
			return fmt.Errorf("%s: %s: %q is not in this repository: remote files are not fetched, commit a copy of them", file, field, shown(entry))
		}
		return nil
	}
	for _, text := range split([]byte(entry)) {
		// What is no YAML is kustomize's to complain of.
		if inline, err := parse(text.bytes); err == nil {
			if err := refuseRemote(file, field, inline); err != nil {
				return err
			}
		}
	}
	return nil
}

// isRemote knows what kustomize takes for an address of a Git repository or of a file on the web (api/internal/git:
// NewRepoSpecFromURL, api/internal/loader: IsRemoteFile), and a little more.
func isRemote(entry string) bool {
	return remote.MatchString(strings.TrimSpace(entry))
}

var remote = regexp.MustCompile(`(?i)^(git::|https?:|[a-z][a-z0-9+.-]*://|[a-z][a-z0-9-]*@[^/]*[:/]|github\.com[/:]|gh:)`)

// texts returns a string, or the strings of a list.
func texts(value any) []string {
	switch value := value.(type) {
	case string:
		return []string{value}
	case []any:
		found := make([]string, len(value))
		for i, item := range value {
			found[i], _ = item.(string)
		}
		return found
	}
	return nil
}
