package fields

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Has says whether an object has a field, by its path as an API server writes it in a conflict, such as
// .spec.containers[name="web"].image. What an item of a list is known by, and leaves out, is what the server fills in.
func Has(object any, path string) bool {
	if path == "" {
		return true
	}
	switch at := object.(type) {
	case map[string]any:
		for name, below := range at { // a name may have dots in it: what follows tells
			rest, is := strings.CutPrefix(path, "."+name)
			if is && (rest == "" || rest[0] == '.' || rest[0] == '[') && Has(below, rest) {
				return true
			}
		}
	case []any:
		item, rest, ok := parseItem(path)
		if !ok {
			return false
		}
		for i, below := range at {
			if item.is(below, i) && Has(below, rest) {
				return true
			}
		}
	}
	return false
}

// Has says whether the entry owns a field, by its path as an API server writes it in a conflict.
func (e Entry) Has(path string) bool {
	for key, owned := range e {
		rest, is := strings.CutPrefix(path, element(key))
		if !is || key == "." {
			continue
		}
		child, _ := owned.(map[string]any)
		if _, itself := child["."]; rest == "" && (itself || len(child) == 0) || rest != "" && Entry(child).Has(rest) {
			return true
		}
	}
	return false
}

// element is a part of a path as it is written for a key of an entry.
func element(key string) string {
	kind, text, _ := strings.Cut(key, ":")
	switch kind {
	case "f":
		return "." + text
	case "i":
		return "[" + text + "]"
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var named any
	if decoder.Decode(&named) != nil {
		return key
	}
	keys, isMap := named.(map[string]any)
	if kind == "v" || !isMap {
		return "[=" + written(named) + "]"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		parts = append(parts, name+"="+written(keys[name]))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// itemPath is how a path names an item of a list: by keys, by its value, or by its place.
type itemPath struct {
	keys  map[string]string
	value string
	place string
}

// parseItem reads the item of a list that a path begins with.
func parseItem(path string) (item itemPath, rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, "[")
	for first := true; ok; first = false {
		name, after, named := strings.Cut(rest, "=")
		if place, beyond, closed := strings.Cut(rest, "]"); closed && first && (!named || len(place) < len(name)) {
			return itemPath{place: place}, beyond, true
		}
		value, after, read := parseScalar(after)
		if !named || !read || after == "" {
			return itemPath{}, "", false
		}
		switch {
		case name == "":
			item.value = value
		case item.keys == nil:
			item.keys = map[string]string{name: value}
		default:
			item.keys[name] = value
		}
		rest = after[1:]
		if after[0] == ']' {
			return item, rest, true
		}
	}
	return itemPath{}, "", false
}

// parseScalar reads a value and returns what follows it. Texts keep their quotes.
func parseScalar(text string) (value, rest string, ok bool) {
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		return quoted, text[len(quoted):], err == nil
	}
	end := strings.IndexAny(text, ",]")
	if end < 0 {
		return "", "", false
	}
	return text[:end], text[end:], true
}

// is says whether it names an item, which is at a place of its list.
func (p itemPath) is(item any, place int) bool {
	switch {
	case p.value != "":
		return written(item) == p.value
	case p.keys == nil:
		return p.place == strconv.Itoa(place)
	}
	object, isObject := item.(map[string]any)
	found := false
	for name, value := range p.keys {
		mine, given := object[name]
		if given && written(mine) != value {
			return false
		}
		found = found || given
	}
	return isObject && found
}

// written is a scalar as the paths of conflicts have it.
func written(value any) string {
	switch value := value.(type) {
	case string:
		return strconv.Quote(value)
	case json.Number:
		return value.String()
	}
	return fmt.Sprint(value)
}
