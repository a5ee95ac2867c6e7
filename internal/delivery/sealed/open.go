package sealed

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"umbel.dev/umbel/internal/delivery/sops"
)

// Keys open files. The error says for whom a file is encrypted, when it is not for these.
type Keys interface {
	Open(file *sops.File) (*sops.Plain, error)
}

// Split takes the encrypted files out of an object of a bundle. It is not sealed when it has none, and goes as it is.
func Split(object []byte) (rest []byte, files []string, sealed bool, err error) {
	if !bytes.Contains(object, []byte(`"`+Field+`"`)) {
		return object, nil, false, nil
	}
	fields, err := decode(object)
	if err != nil {
		return nil, nil, false, err
	}
	texts, sealed := fields[Field].([]any)
	if !sealed || kept(fields) {
		return object, nil, false, nil // of a kind that has such a field itself
	}
	for _, text := range texts {
		text, is := text.(string)
		if !is {
			return nil, nil, false, errors.New("sops: has something else in it than encrypted files")
		}
		files = append(files, text)
	}
	delete(fields, Field)
	rest, err = json.Marshal(fields)
	return rest, files, true, err
}

func decode(object []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber()
	var fields map[string]any
	if err := decoder.Decode(&fields); err != nil {
		return nil, errors.New("it is no object")
	}
	return fields, nil
}

// Open returns an object with its values decrypted. No error has a value in it.
func Open(object []byte, files []string, keys Keys) ([]byte, error) {
	fields, err := decode(object)
	if err != nil {
		return nil, err
	}
	from := map[string]origin{}
	for _, text := range files {
		file, err := sops.Read([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("reading what SOPS encrypted: %w", err)
		}
		plain, err := keys.Open(file)
		if err != nil {
			return nil, err
		}
		for ciphertext, value := range plain.Values {
			from[ciphertext] = origin{file, value}
		}
	}
	found := look(fields)
	for _, p := range found.pointers {
		origin, known := from[p.text]
		if !known {
			return nil, fmt.Errorf("%s: %w", p.field(), errNoFile)
		}
		if err := p.check(fields, origin); err != nil {
			return nil, err
		}
		if p.encoded {
			p.set(origin.value.Plain)
			continue
		}
		p.set(plain(origin.value.Plain))
	}
	for _, w := range found.wholes {
		if err := w.open(keys); err != nil {
			return nil, fmt.Errorf("data.%s: %w", w.key, err)
		}
	}
	return json.Marshal(fields)
}

// open puts the file in place as it was before it was encrypted.
func (w whole) open(keys Keys) error {
	file, err := sops.Read(w.text)
	if err != nil {
		return fmt.Errorf("reading what SOPS encrypted: %w", err)
	}
	plain, err := keys.Open(file)
	if err == nil {
		err = noManifest(file) // opened: what was encrypted of it counts too
	}
	if err != nil {
		return err
	}
	if data, is := plain.Data(); is && path.Ext(w.key) != ".json" {
		w.set(data)
		return nil
	}
	text, err := plain.Text()
	if err != nil {
		return err
	}
	w.set(text)
	return nil
}

// Compare prepares an object that Split gave for a comparison with what is in a member, by somebody without a key: in place of each
// ciphertext stands the value that the member has there. Where it has none the field is left out.
func Compare(object []byte, live map[string]any) ([]byte, error) {
	fields, err := decode(object)
	if err != nil {
		return nil, err
	}
	masked, _ := compare(fields, live, secret(fields)).(map[string]any)
	return json.Marshal(masked)
}

// absent says that a field is left out.
type absent struct{}

func compare(value, live any, isSecret bool) any {
	switch value := value.(type) {
	case string:
		if !sops.IsCiphertext(value) && !(isSecret && hides(value)) {
			return value
		}
		if live == nil {
			return absent{}
		}
		return live
	case map[string]any:
		there, _ := live.(map[string]any)
		for key, item := range value {
			if value[key] = compare(item, there[key], isSecret); value[key] == (absent{}) {
				delete(value, key)
			}
		}
	case []any:
		there, _ := live.([]any)
		for i, item := range value {
			var at any
			if i < len(there) {
				at = there[i]
			}
			if value[i] = compare(item, at, isSecret); value[i] == (absent{}) {
				value[i] = ""
			}
		}
	}
	return value
}

// hides says whether a value of a Secret is something encrypted in base64.
func hides(text string) bool {
	raw, err := base64.StdEncoding.DecodeString(text)
	return err == nil && (sops.IsCiphertext(string(raw)) || sops.Detect(raw) != sops.None)
}
