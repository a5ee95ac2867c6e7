package fields

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Entry is what one manager owns of an object: FieldsV1, as a tree.
type Entry map[string]any

// IsOurs says whether an entry of managedFields is what the agent applied.
func IsOurs(entry metav1.ManagedFieldsEntry) bool {
	return entry.Manager == v1alpha1.FieldManager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == ""
}

// Ours is the agent's entry; nil when there is none.
func Ours(entries []metav1.ManagedFieldsEntry) []byte {
	for _, entry := range entries {
		if IsOurs(entry) && entry.FieldsV1 != nil {
			return entry.FieldsV1.GetRawBytes()
		}
	}
	return nil
}

// ParseEntry reads the fieldsV1 of an entry.
func ParseEntry(raw []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, fmt.Errorf("reading who owns which field: %w", err)
	}
	return e, nil
}

// Bytes writes the entry as the API takes it.
func (e Entry) Bytes() ([]byte, error) { return json.Marshal(e) }

// Release gives up a field of the object: it is in the entry no more. It says whether it was. A field within something that
// is owned as one cannot be given up alone: then unit is that.
func (e Entry) Release(object map[string]any, p Pointer) (released bool, unit Pointer) {
	return release(e, object, p, 0)
}

func release(node Entry, value any, p Pointer, depth int) (released bool, unit Pointer) {
	key, child, below, ok := step(node, value, p[depth])
	if !ok {
		return false, nil
	}
	if depth == len(p)-1 {
		delete(node, key)
		return true, nil
	}
	if len(child) == 0 {
		if isEmpty(below) {
			return false, nil // there is nothing within it, which is not to say that the API takes it as one
		}
		return false, p[:depth+1]
	}
	if released, unit = release(child, below, p, depth+1); released && len(child) == 0 {
		delete(node, key) // an entry without children would own all of it
	}
	return released, unit
}

// step goes down by one token of a pointer, in the entry and in the object.
func step(node Entry, value any, token string) (key string, child Entry, below any, ok bool) {
	switch at := value.(type) {
	case map[string]any:
		key, below = "f:"+token, at[token]
	case []any:
		i, in := index(at, token)
		if !in {
			return "", nil, nil, false
		}
		below = at[i]
		if key, ok = keyOf(node, below, i); !ok {
			return "", nil, nil, false
		}
	default:
		return "", nil, nil, false
	}
	owned, there := node[key]
	child, _ = owned.(map[string]any)
	return key, child, below, there
}

// keyOf returns the key under which an entry owns an item of a list, which is at i.
func keyOf(node Entry, item any, i int) (string, bool) {
	for key := range node {
		kind, text, _ := strings.Cut(key, ":")
		var named any
		switch kind {
		case "k", "v":
			if json.Unmarshal([]byte(text), &named) != nil {
				continue
			}
		case "i":
			if text == fmt.Sprint(i) {
				return key, true
			}
			continue
		default:
			continue
		}
		if kind == "v" && same(named, item) || kind == "k" && has(item, named) {
			return key, true
		}
	}
	return "", false
}

// has says whether an item has the keys. One that it leaves out, because the server has a default, does not count against it.
func has(item, keys any) bool {
	object, isObject := item.(map[string]any)
	wanted, isMap := keys.(map[string]any)
	if !isObject || !isMap {
		return false
	}
	found := false
	for name, value := range wanted {
		mine, given := object[name]
		if given && !same(mine, value) {
			return false
		}
		found = found || given
	}
	return found
}

// same compares two values, of which one may have its numbers as they were written.
func same(a, b any) bool {
	return reflect.DeepEqual(plain(a), plain(b))
}

func plain(value any) any {
	if n, ok := value.(json.Number); ok {
		f, err := n.Float64()
		if err == nil {
			return f
		}
	}
	return value
}

// Subtract takes out of the object what the entry owns, and leaves what it is known by.
func (e Entry) Subtract(object map[string]any) {
	subtract(e, object, "")
	compact(object)
}

func subtract(node Entry, value any, path string) {
	for key, owned := range node {
		child, _ := owned.(map[string]any)
		name, isField := strings.CutPrefix(key, "f:")
		if at, isMap := value.(map[string]any); isMap && isField {
			field := path + "/" + name
			switch {
			case len(child) > 0:
				empty := isEmpty(at[name])
				if subtract(child, at[name], field); !empty {
					dropEmpty(at, name)
				}
			case !identity[field]:
				delete(at, name)
			}
		}
	}
	list, isList := value.([]any)
	if !isList {
		return
	}
	for i, item := range list {
		key, ok := keyOf(node, item, i)
		if !ok {
			continue
		}
		child, _ := node[key].(map[string]any)
		_, whole := child["."]
		if len(child) == 0 || whole && ownsAll(child, item) {
			list[i] = gone{}
			continue
		}
		subtract(child, item, path+"/"+key)
		if object, isMap := item.(map[string]any); isMap {
			restoreKeys(object, key)
		}
	}
}

// ownsAll says whether an entry owns every field of an item.
func ownsAll(node Entry, item any) bool {
	object, isMap := item.(map[string]any)
	if !isMap {
		return true
	}
	for name := range object {
		child, owned := node["f:"+name]
		if below, _ := child.(map[string]any); !owned || len(below) > 0 && !ownsAll(below, object[name]) {
			return false
		}
	}
	return true
}

// restoreKeys puts back what an item of a list is known by.
func restoreKeys(item map[string]any, key string) {
	var keys map[string]any
	if json.Unmarshal([]byte(strings.TrimPrefix(key, "k:")), &keys) == nil {
		maps.Copy(item, keys)
	}
}

// Lost returns the fields of the object that the entry does not own, as people write them, sorted. What a server drops,
// because it is empty, is no loss.
func (e Entry) Lost(object map[string]any) []string {
	lost := lost(e, object, "")
	slices.Sort(lost)
	return lost
}

func lost(node Entry, value any, path string) (found []string) {
	switch at := value.(type) {
	case map[string]any:
		for name, below := range at {
			if isEmpty(below) || path == "" && (name == "apiVersion" || name == "kind") ||
				path == "metadata" && (name == "name" || name == "namespace") {
				continue
			}
			found = append(found, lostAt(node, "f:"+name, below, join(path, name))...)
		}
	case []any:
		for i, item := range at {
			key, ok := keyOf(node, item, i)
			if !ok {
				key = "" // nobody's key
			}
			found = append(found, lostAt(node, key, item, fmt.Sprintf("%s[%s]", path, nameOf(item, i)))...)
		}
	}
	return found
}

func lostAt(node Entry, key string, below any, path string) []string {
	owned, there := node[key]
	if !there {
		if within, isMap := below.(map[string]any); isMap {
			return lost(nil, within, path) // each field of it
		}
		return []string{path}
	}
	if child, _ := owned.(map[string]any); len(child) > 0 {
		return lost(child, below, path)
	}
	return nil // owned as one
}

// Owns says whether the entry owns a field that Lost returned, or something below it.
func (e Entry) Owns(object map[string]any, path string) bool {
	return !slices.ContainsFunc(e.Lost(object), func(lost string) bool {
		return lost == path || strings.HasPrefix(path, lost+".") || strings.HasPrefix(path, lost+"[")
	})
}

func join(path, name string) string {
	if strings.ContainsAny(name, "./") {
		name = fmt.Sprintf("[%s]", name)
		return path + name
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// nameOf says which item of a list it is.
func nameOf(item any, i int) string {
	if object, ok := item.(map[string]any); ok {
		for _, key := range []string{"name", "key", "type", "ip", "containerPort", "port", "mountPath"} {
			if value, given := object[key]; given {
				return fmt.Sprintf("%s=%v", key, value)
			}
		}
	}
	return fmt.Sprint(i)
}

func isEmpty(value any) bool {
	switch at := value.(type) {
	case nil:
		return true
	case map[string]any:
		for _, below := range at {
			if !isEmpty(below) {
				return false
			}
		}
		return true
	case []any:
		return len(at) == 0
	}
	return false
}
