package fields

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Pointer is a JSON pointer (RFC 6901), taken apart.
type Pointer []string

// maxPointer is how long a pointer may be.
const maxPointer = 512

// identity is what an object is known by, which is nobody's to ignore.
var identity = map[string]bool{
	"/apiVersion": true, "/kind": true, "/metadata": true, "/metadata/name": true, "/metadata/namespace": true, "/metadata/labels": true,
}

// ParsePointer reads a JSON pointer to a field that can be left to others.
func ParsePointer(text string) (Pointer, error) {
	switch {
	case len(text) > maxPointer:
		return nil, fmt.Errorf("JSON pointer %.20q… is longer than %d characters", text, maxPointer)
	case !strings.HasPrefix(text, "/") || text == "/":
		return nil, fmt.Errorf("JSON pointer %q has to begin with a slash and name a field, such as /spec/replicas", text)
	case identity[text]:
		return nil, fmt.Errorf("JSON pointer %q: an object is known by that; name a field below it", text)
	}
	var p Pointer
	for token := range strings.SplitSeq(text[1:], "/") {
		plain, err := unescape(token)
		if err != nil {
			return nil, fmt.Errorf("JSON pointer %q: %w", text, err)
		}
		p = append(p, plain)
	}
	return p, nil
}

func unescape(token string) (string, error) {
	if token == "" {
		return "", errors.New("a part of it is empty")
	}
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(token)
	if strings.Contains(rest, "~") {
		return "", fmt.Errorf("%q: a tilde is written ~0, and a slash within a name ~1", token)
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token), nil
}

// String writes the pointer as people do.
func (p Pointer) String() string {
	var text strings.Builder
	for _, token := range p {
		text.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return text.String()
}

// Decode reads an object; numbers stay as they were written.
func Decode(body []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	return object, nil
}

// gone stands in the place of an item of a list that is left out, until all are: the indices of the others still count.
type gone struct{}

// Without takes fields out of an object, which is changed, and what holds nothing else. What it does not have is passed over.
func Without(object map[string]any, pointers []Pointer) {
	for _, p := range pointers {
		remove(object, p)
	}
	compact(object)
}

func remove(value any, p Pointer) {
	switch at := value.(type) {
	case map[string]any:
		if len(p) == 1 {
			delete(at, p[0])
			return
		}
		empty := isEmpty(at[p[0]])
		if remove(at[p[0]], p[1:]); !empty {
			dropEmpty(at, p[0])
		}
	case []any:
		i, ok := index(at, p[0])
		switch {
		case !ok:
		case len(p) == 1:
			at[i] = gone{}
		default:
			remove(at[i], p[1:])
		}
	}
}

// dropEmpty takes out a map of which nothing is left: who sends an empty one owns it as one.
func dropEmpty(at map[string]any, name string) {
	if below, isMap := at[name].(map[string]any); isMap && len(below) == 0 {
		delete(at, name)
	}
}

func index(list []any, token string) (int, bool) {
	i, err := strconv.Atoi(token)
	return i, err == nil && i >= 0 && i < len(list)
}

// compact takes out the items that are gone, and lists of which nothing is left by that.
func compact(value any) {
	at, isMap := value.(map[string]any)
	if !isMap {
		return
	}
	for name, child := range at {
		list, isList := child.([]any)
		if !isList {
			compact(child)
			continue
		}
		if at[name] = compactList(list); len(at[name].([]any)) == 0 && len(list) > 0 {
			delete(at, name)
		}
	}
}

func compactList(list []any) []any {
	kept := make([]any, 0, len(list))
	for _, item := range list {
		switch within := item.(type) {
		case gone:
			continue
		case []any:
			item = compactList(within)
		default:
			compact(item)
		}
		kept = append(kept, item)
	}
	return kept
}

// Encode writes an object.
func Encode(object map[string]any) ([]byte, error) { return json.Marshal(object) }
