package sops

import (
	"bytes"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"time"
)

// Format of a file.
type Format int

// The formats that SOPS has. Its binary one is JSON.
const (
	None Format = iota
	YAML
	JSON
	Dotenv
	INI
)

// MaxText is how large a file may be; an object of Kubernetes has to be smaller.
const MaxText = 4 << 20

var (
	yamlBlock   = regexp.MustCompile(`(?m)^["']?sops["']?[ \t]*:`)
	jsonBlock   = regexp.MustCompile(`"sops"[ \t\r\n]*:[ \t\r\n]*\{`)
	dotenvBlock = regexp.MustCompile(`(?m)^sops_mac=`)
	iniBlock    = regexp.MustCompile(`(?m)^\[sops\][ \t\r]*$`)
)

// Detect says whether a text is a file that SOPS encrypted, and of which format; None when it is not.
func Detect(text []byte) Format {
	if !bytes.Contains(text, []byte("sops")) || !bytes.Contains(text, []byte("mac")) || !bytes.Contains(text, []byte("lastmodified")) {
		return None
	}
	switch start := bytes.TrimSpace(text); {
	case bytes.HasPrefix(start, []byte("{")) && jsonBlock.Match(text):
		return JSON
	case iniBlock.Match(text):
		return INI
	case dotenvBlock.Match(text):
		return Dotenv
	case yamlBlock.Match(text):
		return YAML
	}
	return None
}

// File is an encrypted file, taken apart.
type File struct {
	Format Format

	documents []*node // each a branch; several in YAML alone
	metadata  metadata
	write     func() ([]byte, error)
}

// Read takes a file apart. Nothing in it is verified yet.
func Read(text []byte) (*File, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxText>>20)
	}
	var f *File
	var err error
	switch Detect(text) {
	case YAML:
		f, err = readYAML(text)
	case JSON:
		f, err = readJSON(text)
	case Dotenv:
		f, err = readDotenv(text)
	case INI:
		f, err = readINI(text)
	default:
		return nil, errors.New("it is not encrypted by SOPS")
	}
	if err != nil {
		return nil, err
	}
	for _, document := range f.documents {
		if err := document.walk(nil, nil, func(*node, []string, [][]string) error { return nil }); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Keys are the file's key, encrypted for each recipient of age.
func (f *File) Keys() []Key { return f.metadata.keys }

// Recipients of age that it is encrypted for.
func (f *File) Recipients() []string {
	var names []string
	for _, key := range f.metadata.keys {
		names = append(names, key.Recipient)
	}
	return names
}

// Others are the sorts of keys that it is encrypted with beside age, as SOPS calls them: pgp, kms and their like.
func (f *File) Others() []string { return f.metadata.others }

// MAC as it stands in the file, which no other file has.
func (f *File) MAC() string { return f.metadata.mac }

// CoversAll says whether the MAC is over all values, and not only over those that are encrypted.
func (f *File) CoversAll() bool { return !f.metadata.onlyEncrypted }

// Value is an encrypted value of a file.
type Value struct {
	// Document is in which of the file's documents it stands, and Path the keys that lead to it there.
	Document int
	Path     []string
	// Plain is the value: a string, int, float64, bool or time.Time. It is nil before the file was opened.
	Plain any
}

// Values are the encrypted values, by their ciphertexts. No two are the same: each has its own nonce.
func (f *File) Values() map[string]Value {
	found := map[string]Value{}
	for i, document := range f.documents {
		_ = document.walk(nil, nil, func(n *node, path []string, _ [][]string) error { // the visitor never fails, and Read walked it
			if text, is := n.value.(string); is && n.kind == leaf && IsCiphertext(text) {
				found[text] = Value{Document: i, Path: path}
			}
			return nil
		})
	}
	return found
}

// Documents is how many there are in the file.
func (f *File) Documents() int { return len(f.documents) }

// Head is what a document says of the object that it is, as far as that is not encrypted.
type Head struct {
	APIVersion, Kind, Namespace string
}

// Head returns that of a document.
func (f *File) Head(document int) Head {
	if document >= len(f.documents) {
		return Head{}
	}
	d := f.documents[document]
	return Head{APIVersion: d.text("apiVersion"), Kind: d.text("kind"), Namespace: d.text("metadata", "namespace")}
}

// Plain is what was in a file before it was encrypted.
type Plain struct {
	file   *File
	Values map[string]Value
}

// macStart begins the MAC over encrypted values alone, so that it is never one over all: the SHA-256 of "sops".
var macStart, _ = hex.DecodeString("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")

// Open decrypts a file with its key, and verifies it. The file itself is used up.
func (f *File) Open(key []byte) (*Plain, error) {
	if len(key) != keySize {
		return nil, errors.New("its key has not the size of one")
	}
	o := opening{file: f, key: key, sum: sha512.New(), plain: &Plain{file: f, Values: map[string]Value{}}}
	if f.metadata.onlyEncrypted {
		o.sum.Write(macStart)
	}
	for i, document := range f.documents {
		o.document = i
		if err := document.walk(nil, nil, o.visit); err != nil {
			return nil, err
		}
	}
	mac, err := decrypt(f.metadata.mac, key, f.metadata.lastModified.Format(time.RFC3339))
	if err != nil {
		return nil, fmt.Errorf("sops.mac %w", err)
	}
	want, _ := mac.(string)
	got := strings.ToUpper(hex.EncodeToString(o.sum.Sum(nil)))
	if subtle.ConstantTimeCompare([]byte(want), []byte(got)) != 1 {
		return nil, errors.New("its MAC is not that of its values: something was changed, added, removed or moved since sops wrote it; edit it with `sops` only")
	}
	return o.plain, nil
}

// opening is a file that is being decrypted.
type opening struct {
	file     *File
	key      []byte
	document int
	sum      hash.Hash
	plain    *Plain
}

func (o *opening) visit(n *node, path []string, remarks [][]string) error {
	if !o.file.metadata.rule.encrypts(path, remarks, n.kind == remark) {
		if !o.file.metadata.onlyEncrypted && n.kind != remark {
			o.sum.Write(measured(n.value))
		}
		return nil
	}
	text, is := n.value.(string)
	if !is {
		return fmt.Errorf("%s %w", strings.Join(path, "."), errNotEncrypted)
	}
	value, err := decrypt(text, o.key, strings.Join(path, ":")+":")
	if n.kind == remark {
		if said, is := value.(remarked); err == nil && is {
			n.put(string(said))
		}
		return nil // older versions of SOPS did not encrypt comments
	}
	if err != nil {
		return fmt.Errorf("%s %w", strings.Join(path, "."), err)
	}
	if said, is := value.(remarked); is {
		n.put(said) // in a list, where SOPS writes them as items
		return nil
	}
	o.sum.Write(measured(value))
	o.plain.Values[text] = Value{Document: o.document, Path: path, Plain: value}
	n.put(value)
	return nil
}

// Text is the file as it was before it was encrypted, without the block `sops`.
func (p *Plain) Text() ([]byte, error) { return p.file.write() }

// Data is the content of what SOPS calls binary: a JSON file with the one field data. It is not ok when the file is another.
func (p *Plain) Data() (data []byte, ok bool) {
	if p.file.Format != JSON {
		return nil, false
	}
	fields := p.file.documents[0].children
	if len(fields) != 1 || fields[0].key != "data" || fields[0].kind != leaf {
		return nil, false
	}
	text, ok := fields[0].value.(string)
	return []byte(text), ok
}
