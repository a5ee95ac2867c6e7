package sops

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gopkg.in/ini.v1"
)

// FlatPrefix begins the keys of a dotenv file that are SOPS' own.
const FlatPrefix = "sops_"

// readDotenv reads KEY=VALUE by lines.
func readDotenv(text []byte) (*File, error) {
	document := &node{kind: branch}
	var block []*node
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" {
			continue
		}
		if said, is := strings.CutPrefix(line, "#"); is {
			document.children = append(document.children, settable(&node{kind: remark, value: said}))
			continue
		}
		key, value, is := strings.Cut(line, "=")
		if !is {
			return nil, fmt.Errorf("line %d: is not KEY=VALUE", i+1)
		}
		one := settable(&node{key: key, value: strings.ReplaceAll(value, `\n`, "\n")})
		if own, is := strings.CutPrefix(key, FlatPrefix); is {
			one.key = own
			block = append(block, one)
			continue
		}
		document.children = append(document.children, one)
	}
	return flatFile(&File{Format: Dotenv, documents: []*node{document}, write: func() ([]byte, error) { return writeDotenv(document), nil }}, block)
}

// settable makes a node one that is written with the value that it was given.
func settable(n *node) *node {
	n.put = func(value any) { n.value = value }
	return n
}

func flatFile(f *File, block []*node) (*File, error) {
	var err error
	if f.metadata, err = readMetadata(unflatten(block)); err != nil {
		return nil, err
	}
	for _, document := range f.documents {
		if err := document.unique(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func writeDotenv(document *node) []byte {
	var out bytes.Buffer
	for _, n := range document.children {
		if n.kind == remark {
			fmt.Fprintf(&out, "#%s\n", n.value)
			continue
		}
		fmt.Fprintf(&out, "%s=%s\n", n.key, strings.ReplaceAll(Written(n.value), "\n", `\n`))
	}
	return out.Bytes()
}

// Written is a value as it stands in a text without types.
func Written(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case float64:
		text := strconv.FormatFloat(value, 'G', -1, 64)
		if !strings.ContainsAny(text, ".E") {
			text = strconv.FormatFloat(value, 'f', 1, 64)
		}
		return text
	case time.Time:
		return value.Format(time.RFC3339)
	default:
		return fmt.Sprint(value)
	}
}

// readINI reads sections of values.
func readINI(text []byte) (*File, error) {
	parsed, err := ini.LoadSources(ini.LoadOptions{AllowNonUniqueSections: true}, text)
	if err != nil {
		return nil, errors.New("it is no INI file")
	}
	document := &node{kind: branch}
	var block []*node
	for _, section := range parsed.Sections() {
		if section.Name() == "sops" {
			for _, key := range section.Keys() {
				block = append(block, &node{key: key.Name(), value: strings.ReplaceAll(key.Value(), `\n`, "\n")})
			}
			continue
		}
		in := &node{kind: branch, key: section.Name()}
		if section.Comment != "" {
			in.children = append(in.children, iniRemark(&section.Comment))
		}
		for _, key := range section.Keys() {
			in.children = append(in.children, &node{key: key.Name(), value: key.Value(), put: func(value any) { key.SetValue(Written(value)) }})
			if key.Comment != "" {
				in.children = append(in.children, iniRemark(&key.Comment))
			}
		}
		document.children = append(document.children, in)
	}
	return flatFile(&File{Format: INI, documents: []*node{document}, write: func() ([]byte, error) {
		parsed.DeleteSection("sops")
		var out bytes.Buffer
		if _, err := parsed.WriteTo(&out); err != nil {
			return nil, errors.New("writing it as INI")
		}
		return out.Bytes(), nil
	}}, block)
}

// iniRemark is a comment without the signs that begin it.
func iniRemark(comment *string) *node {
	text := *comment
	switch {
	case strings.HasPrefix(text, ";"):
		text = strings.TrimLeft(text, "; ")
	case strings.HasPrefix(text, "#"):
		text = strings.TrimLeft(text, "# ")
	}
	return &node{kind: remark, value: text, put: func(value any) { *comment = value.(string) }}
}
