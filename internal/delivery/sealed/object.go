package sealed

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"umbel.dev/umbel/internal/delivery/sops"
)

// Field of an object in a bundle has the encrypted files that its values are from, a list of texts. What SOPS itself writes
// there is a map.
const Field = "sops"

// secret says whether an object is a Secret of Kubernetes.
func secret(object map[string]any) bool {
	return object["kind"] == "Secret" && object["apiVersion"] == "v1"
}

// pointer is a ciphertext in an object.
type pointer struct {
	path []string
	text string
	// encoded says that it stands in the data of a Secret in base64, as generators write it.
	encoded bool
	set     func(value any)
}

func (p pointer) field() string { return strings.Join(p.path, ".") }

// whole is an encrypted file that is a value of a Secret.
type whole struct {
	key  string
	text []byte
	set  func(text []byte)
}

// contents are what is encrypted in an object.
type contents struct {
	pointers []pointer
	wholes   []whole
}

// suspicious says whether there may be something to find in an object, and costs little.
func suspicious(object map[string]any) bool { return secret(object) || mentions(object) }

func mentions(value any) bool {
	switch value := value.(type) {
	case string:
		return sops.IsCiphertext(value)
	case map[string]any:
		for _, item := range value {
			if mentions(item) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, mentions)
	}
	return false
}

// look finds what is encrypted in an object.
func look(object map[string]any) contents {
	var found contents
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if key == Field {
			continue
		}
		if key == "data" && secret(object) {
			found.data(object[key])
			continue
		}
		found.value(object[key], []string{key}, func(value any) { object[key] = value })
	}
	return found
}

// Fold moves the stringData of a Secret into its data, as the API server does when it takes it: what it says of who owns which
// field is about data. What it would refuse is left to it, but that its words may quote a value. No error has one in it.
func Fold(object map[string]any) error {
	texts, has := object["stringData"].(map[string]any)
	if !has || !secret(object) {
		return nil
	}
	data, is := object["data"].(map[string]any)
	if !is && object["data"] != nil {
		return nil
	}
	folded := maps.Clone(data)
	if folded == nil {
		folded = map[string]any{}
	}
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		text, is := texts[key].(string)
		if !is && texts[key] != nil {
			return fmt.Errorf("stringData.%s: is not a string: put it in quotes", key)
		}
		folded[key] = base64.StdEncoding.EncodeToString([]byte(text))
	}
	delete(object, "stringData")
	object["data"] = folded
	return nil
}

// value looks at a value and what is in it. As for SOPS, the place in a list is no part of a path.
func (c *contents) value(value any, path []string, set func(any)) {
	switch value := value.(type) {
	case string:
		if sops.IsCiphertext(value) {
			c.pointers = append(c.pointers, pointer{path: path, text: value, set: set})
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			c.value(value[key], append(path[:len(path):len(path)], key), func(plain any) { value[key] = plain })
		}
	case []any:
		for i := range value {
			c.value(value[i], path, func(plain any) { value[i] = plain })
		}
	}
}

// data looks at the data of a Secret.
func (c *contents) data(value any) {
	entries, is := value.(map[string]any)
	if !is {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		text, is := entries[key].(string)
		if !is {
			continue
		}
		path := []string{"data", key}
		set := func(value any) { entries[key] = value }
		if sops.IsCiphertext(text) {
			c.pointers = append(c.pointers, pointer{path: path, text: text, set: set})
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue // the API server's to complain of
		}
		encode := func(text []byte) { entries[key] = base64.StdEncoding.EncodeToString(text) }
		switch {
		case sops.IsCiphertext(string(raw)):
			c.pointers = append(c.pointers, pointer{path: path, text: string(raw), encoded: true, set: func(value any) { encode([]byte(sops.Written(value))) }})
		case sops.Detect(raw) != sops.None:
			c.wholes = append(c.wholes, whole{key, raw, encode})
		}
	}
}

// plain is a decrypted value as it stands in an object.
func plain(value any) any {
	switch value := value.(type) {
	case string, bool, float64:
		return value
	case int:
		return jsonInt(value)
	default:
		return sops.Written(value)
	}
}

type jsonInt int

// MarshalJSON implements json.Marshaler.
func (n jsonInt) MarshalJSON() ([]byte, error) { return strconv.AppendInt(nil, int64(n), 10), nil }
