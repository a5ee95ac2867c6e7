package render

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// hierarchy is a source that is laid out as a hierarchical repository of Config Sync: a Repo in system/ says so.
//
//   - cluster/ holds objects of the whole cluster, clusterregistry/ holds selectors, system/ what only Config Sync reads.
//   - Below namespaces/, a folder with a Namespace, which has the folder's name, is that namespace: the objects in it are in
//     it. Any other folder is an abstract namespace: each object in it is copied into all namespaces below it, of which a
//     NamespaceSelector that it names leaves those that match.
//   - A Namespace gets labels that say how far above it each folder of its path is: FOLDER.tree.hnc.x-k8s.io/depth.
type hierarchy struct{ folder string }

const depthLabel = ".tree.hnc.x-k8s.io/depth"

// hierarchyOf finds out whether a source is laid out so, and whether its folders may hold what they do.
func hierarchyOf(folder string, found []object) (*hierarchy, error) {
	h := &hierarchy{folder: folder}
	if !slices.ContainsFunc(found, func(o object) bool {
		group, kind := kindOf(o)
		return group == configManagement && kind == "Repo" && h.path(o)[0] == "system"
	}) {
		return nil, nil
	}
	var errs problems
	for _, o := range found {
		group, kind := kindOf(o)
		selector := group == configManagement && (kind == kindCluster || kind == kindNamespace)
		switch at := h.path(o)[0]; {
		case isLocal(o):
		case at == "cluster" && !isNamespace(o) && !selector, at == "namespaces", at == "clusterregistry" && selector:
		default:
			errs.add(fmt.Errorf("%s: %s: %w, where %s/ does not hold this kind: see docs/operate/one-repository.md", o.place, identify(o.fields), errHierarchy, at))
		}
	}
	return h, errs.err()
}

// path of the object's file below the folder, cut at the slashes.
func (h *hierarchy) path(o object) []string {
	name := o.place.file
	if h.folder != "." {
		name = strings.TrimPrefix(name, h.folder+"/")
	}
	return strings.Split(name, "/")
}

// inherit puts objects into the namespaces of their folders, and copies those of abstract namespaces down.
func (h *hierarchy) inherit(found []object) ([]object, error) {
	namespaces, err := h.namespaces(found)
	if err != nil {
		return nil, err
	}
	var errs problems
	var out []object
	for _, o := range found {
		at := h.path(o)
		if at[0] != "namespaces" {
			out = append(out, o)
			continue
		}
		if isNamespace(o) {
			out = append(out, h.labelled(o))
			continue
		}
		copies, err := inherited(o, path.Join(at[:len(at)-1]...), namespaces)
		errs.add(err)
		out = append(out, copies...)
	}
	return out, errs.err()
}

// namespaces returns the names of the namespaces by their folders.
func (h *hierarchy) namespaces(found []object) (map[string]string, error) {
	namespaces := map[string]string{}
	var errs problems
	for _, o := range found {
		at := h.path(o)
		if !isNamespace(o) || at[0] != "namespaces" {
			continue
		}
		folder, name := path.Join(at[:len(at)-1]...), identify(o.fields).Name
		if folder == "namespaces" || path.Base(folder) != name {
			errs.add(wrong(o, "metadata.name", "has to be the name of its folder, %q", path.Base(folder)))
		}
		namespaces[folder] = name
	}
	folders := slices.Sorted(maps.Keys(namespaces))
	for _, folder := range folders {
		for above := path.Dir(folder); above != "."; above = path.Dir(above) {
			if _, is := namespaces[above]; is {
				errs.add(fmt.Errorf("%s is a namespace below %s, which is one: a namespace has no namespaces below it", folder, above))
			}
		}
	}
	return namespaces, errs.err()
}

// inherited returns an object of a folder in the namespaces that get it.
func inherited(o object, folder string, namespaces map[string]string) ([]object, error) {
	given := identify(o.fields).Namespace
	if name, is := namespaces[folder]; is {
		if given != "" && given != name {
			return nil, wrong(o, "metadata.namespace", "is %q in the folder of namespace %q", given, name)
		}
		return []object{o.in(name)}, nil
	}
	if given != "" {
		return nil, wrong(o, "metadata.namespace", "is %q in the folder of an abstract namespace, whose objects are copied into all namespaces below it: remove the field", given)
	}
	var copies []object
	for _, below := range slices.Sorted(maps.Keys(namespaces)) {
		if strings.HasPrefix(below, folder+"/") {
			copies = append(copies, o.in(namespaces[below]))
		}
	}
	if len(copies) == 0 {
		return nil, fmt.Errorf("%s: %s: there is no namespace in %s or below it that would get it", o.place, identify(o.fields), folder)
	}
	return copies, nil
}

// labelled returns a Namespace with the labels of its depth.
func (h *hierarchy) labelled(o object) object {
	at := h.path(o)
	at = at[1 : len(at)-1]
	labels := map[string]any{}
	for i, folder := range at {
		labels[folder+depthLabel] = strconv.Itoa(len(at) - 1 - i)
	}
	o.fields = maps.Clone(o.fields)
	metadata := maps.Clone(o.fields["metadata"].(map[string]any))
	given, _ := metadata["labels"].(map[string]any)
	maps.Copy(labels, given)
	metadata["labels"] = labels
	o.fields["metadata"] = metadata
	return o
}
