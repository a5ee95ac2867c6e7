package sealed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"umbel.dev/umbel/internal/delivery/sops"
)

// EncryptedAnnotation is on objects that came encrypted: a digest of what is encrypted, and not of what it is.
const EncryptedAnnotation = "umbel.dev/encrypted"

// KeepAnnotation on an object, with the value Keep, has it delivered as it is: something else in the cluster decrypts it.
const (
	KeepAnnotation = "umbel.dev/sops"
	Keep           = "Keep"
)

// Sources are the encrypted files that were read for some objects. The zero value is ready.
type Sources struct {
	byValue map[string]*source // by ciphertexts
	byMAC   map[string]*source
}

type source struct {
	name   string
	text   string
	file   *sops.File
	values map[string]sops.Value
}

// Look takes note of a file, if it is an encrypted one. The error says what is wrong with one that cannot be read.
func (s *Sources) Look(name string, text []byte) error {
	if sops.Detect(text) == sops.None {
		return nil
	}
	file, err := sops.Read(text)
	if err != nil {
		return fmt.Errorf("%s: reading what SOPS encrypted: %w", name, err)
	}
	if s.byValue == nil {
		s.byValue, s.byMAC = map[string]*source{}, map[string]*source{}
	}
	one := &source{name: name, text: string(text), file: file, values: file.Values()}
	for ciphertext := range one.values {
		s.byValue[ciphertext] = one
	}
	s.byMAC[file.MAC()] = one
	return nil
}

// Any says whether an object has something in it that Seal is for.
func Any(object map[string]any) bool {
	if _, has := object[Field]; has {
		return !kept(object)
	}
	if kept(object) || !suspicious(object) {
		return false
	}
	found := look(object)
	return len(found.pointers) > 0 || len(found.wholes) > 0
}

func kept(object map[string]any) bool {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	return annotations[KeepAnnotation] == Keep
}

// Seal puts the files that an object's ciphertexts are from into its field `sops`. An object that has nothing encrypted in it
// stays as it is. The error names the field.
func (s *Sources) Seal(object map[string]any) error {
	block, has := object[Field]
	written, is := block.(map[string]any)
	if has && !is {
		return fmt.Errorf("%s: has to be what sops wrote", Field)
	}
	if kept(object) {
		return nil
	}
	if !has && !suspicious(object) {
		return nil
	}
	if has || mentions(object["stringData"]) {
		if err := Fold(object); err != nil {
			return err
		}
	}
	found := look(object)
	from, err := s.origins(object, found, has)
	if err != nil {
		return err
	}
	if mac, _ := written["mac"].(string); has && s.byMAC[mac] != nil {
		from[s.byMAC[mac]] = true
	}
	for _, w := range found.wholes {
		if err := w.check(); err != nil {
			return err
		}
	}
	if has && len(from) == 0 {
		return fmt.Errorf("%s: %w", Field, errNoFile)
	}
	if len(from) == 0 && len(found.wholes) == 0 {
		return nil
	}
	files := slices.SortedFunc(maps.Keys(from), func(a, b *source) int { return strings.Compare(a.name, b.name) })
	texts := make([]any, 0, len(files))
	for _, file := range files {
		if err := forAge(file.file); err != nil {
			return fmt.Errorf("%s: %w", file.name, err)
		}
		texts = append(texts, file.text)
	}
	object[Field] = texts
	return mark(object, found)
}

// mark puts a digest of the ciphertexts on an object, so that whoever has no key sees in the member whether they are the same.
func mark(object map[string]any, found contents) error {
	sum := sha256.New()
	for _, p := range found.pointers {
		if !flat(p) {
			fmt.Fprintf(sum, "%q %q\n", p.path, p.text)
		}
	}
	for _, w := range found.wholes {
		file, err := sops.Read(w.text)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %q\n", w.key, file.MAC())
	}
	metadata, is := object["metadata"].(map[string]any)
	if !is {
		return nil // it is refused for that later
	}
	annotations, is := metadata["annotations"].(map[string]any)
	if !is {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations[EncryptedAnnotation] = hex.EncodeToString(sum.Sum(nil)[:8])
	return nil
}

// origins finds the files of an object's ciphertexts, and takes out what generators made of a file's own lines.
func (s *Sources) origins(object map[string]any, found contents, sealed bool) (map[*source]bool, error) {
	from := map[*source]bool{}
	for _, p := range found.pointers {
		one := s.byValue[p.text]
		if one == nil {
			if !sealed && !secret(object) {
				continue // text about SOPS, for instance
			}
			if flat(p) {
				continue // it goes below, with its file
			}
			return nil, fmt.Errorf("%s: %w", p.field(), errNoFile)
		}
		if err := p.check(object, origin{one.file, one.values[p.text]}); err != nil {
			return nil, err
		}
		from[one] = true
	}
	for one := range from {
		if entries, is := object["data"].(map[string]any); is && one.file.Format == sops.Dotenv {
			maps.DeleteFunc(entries, func(key string, _ any) bool { return strings.HasPrefix(key, sops.FlatPrefix) })
		}
	}
	return from, nil
}

// flat says whether a ciphertext is the MAC of a dotenv file, which a generator took for one of its values.
func flat(p pointer) bool {
	return p.encoded && len(p.path) == 2 && strings.HasPrefix(p.path[1], sops.FlatPrefix)
}

// check says why a value that is an encrypted file cannot be decrypted in a member.
func (w whole) check() error {
	file, err := sops.Read(w.text)
	if err == nil {
		err = forAge(file)
	}
	if err == nil {
		err = noManifest(file)
	}
	if err != nil {
		return fmt.Errorf("data.%s: a file that SOPS encrypted: %w", w.key, err)
	}
	return nil
}

// noManifest refuses an encrypted manifest in place of a file: it is delivered as one, where its kind and place can be looked at.
func noManifest(file *sops.File) error {
	for i := range file.Documents() {
		if head := file.Head(i); head.Kind != "" && head.APIVersion != "" {
			return errors.New("it is a manifest, and a manifest is delivered as one: name it in resources")
		}
	}
	return nil
}

// forAge says why nobody with a key of age can decrypt a file.
func forAge(file *sops.File) error {
	if len(file.Keys()) > 0 {
		return nil
	}
	return fmt.Errorf("it is encrypted with %s, and agents have keys of age: add the clusters' (`umbel secrets recipients`) to .sops.yaml and run `sops updatekeys`",
		strings.Join(append(file.Others(), "no key at all")[:max(1, len(file.Others()))], ", "))
}
