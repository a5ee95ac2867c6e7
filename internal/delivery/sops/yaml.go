package sops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlIndent is how SOPS indents.
const yamlIndent = 4

var yamlLine = regexp.MustCompile(`line [0-9]+`)

// readYAML reads the documents as SOPS does, comments included: they have a place in the order, and may say what is encrypted.
func readYAML(text []byte) (*File, error) {
	f := &File{Format: YAML}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var roots []*yaml.Node
	for {
		root := &yaml.Node{}
		err := decoder.Decode(root)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("it is no YAML (%s)", strings.TrimSpace("wrong "+yamlLine.FindString(err.Error())))
		}
		document := &node{kind: branch}
		block, err := yamlDocument(root, document)
		if err != nil {
			return nil, err
		}
		if len(roots) == 0 {
			if f.metadata, err = readMetadata(block); err != nil {
				return nil, err
			}
		}
		roots = append(roots, root)
		f.documents = append(f.documents, document)
	}
	f.write = func() ([]byte, error) { return writeYAML(roots) }
	if len(roots) == 0 {
		return nil, errors.New("there is no document in it")
	}
	return f, nil
}

func writeYAML(roots []*yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(yamlIndent)
	for _, root := range roots {
		if err := encoder.Encode(root); err != nil {
			return nil, errors.New("writing it as YAML")
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, errors.New("writing it as YAML")
	}
	return out.Bytes(), nil
}

// yamlDocument reads a document, and takes the block `sops` out of it.
func yamlDocument(root *yaml.Node, document *node) (block *node, err error) {
	remarks(document, &root.HeadComment, &root.LineComment)
	for _, content := range root.Content {
		if content.Kind == yaml.ScalarNode && content.ShortTag() == "!!null" {
			continue
		}
		if content.Kind != yaml.MappingNode {
			return nil, errors.New("a document of it is no map")
		}
		if err := yamlBranch(content, document, false, 0); err != nil {
			return nil, err
		}
		forgetBlock(content)
	}
	remarks(document, &root.FootComment)
	return document.take("sops"), nil
}

// forgetBlock takes the block `sops` out of what is written. A comment before it belongs to what is above.
func forgetBlock(mapping *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		if key.Value != "sops" {
			continue
		}
		if i > 0 && key.HeadComment != "" {
			before := mapping.Content[i-2]
			before.FootComment = strings.TrimPrefix(before.FootComment+"\n"+key.HeadComment, "\n")
		}
		mapping.Content = append(mapping.Content[:i:i], mapping.Content[i+2:]...)
		return
	}
}

// remarks adds the lines of comments to a branch or list.
func remarks(to *node, fields ...*string) {
	for _, field := range fields {
		for i, line := range strings.Split(*field, "\n") {
			if line == "" {
				continue
			}
			to.children = append(to.children, &node{kind: remark, value: line[1:], put: func(value any) {
				lines := strings.Split(*field, "\n")
				lines[i] = "#" + value.(string)
				*field = strings.Join(lines, "\n")
			}})
		}
	}
}

func yamlBranch(mapping *yaml.Node, to *node, handled bool, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	if !handled {
		remarks(to, &mapping.HeadComment, &mapping.LineComment)
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			return fmt.Errorf("line %d: a key of it is no text", key.Line)
		}
		remarks(to, &key.HeadComment, &key.LineComment)
		scalar := value.Kind == yaml.ScalarNode
		if scalar {
			remarks(to, &value.HeadComment, &value.LineComment)
		}
		child, err := yamlValue(value, scalar, depth+1)
		if err != nil {
			return err
		}
		child.key = key.Value
		to.children = append(to.children, child)
		if scalar {
			remarks(to, &value.FootComment)
		}
		remarks(to, &key.FootComment)
	}
	if !handled {
		remarks(to, &mapping.FootComment)
	}
	return to.unique()
}

func yamlValue(value *yaml.Node, handled bool, depth int) (*node, error) {
	switch value.Kind {
	case yaml.MappingNode:
		to := &node{kind: branch}
		return to, yamlBranch(value, to, handled, depth)
	case yaml.SequenceNode:
		to := &node{kind: list}
		return to, yamlList(value, to, handled, depth)
	case yaml.ScalarNode:
		return yamlLeaf(value)
	}
	return nil, fmt.Errorf("line %d: anchors and aliases are not read: sops writes none", value.Line)
}

func yamlList(sequence *yaml.Node, to *node, handled bool, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	if !handled {
		remarks(to, &sequence.HeadComment, &sequence.LineComment)
	}
	for _, item := range sequence.Content {
		remarks(to, &item.HeadComment, &item.LineComment)
		child, err := yamlValue(item, true, depth+1)
		if err != nil {
			return err
		}
		if child.kind == leaf {
			value := child.put
			child.put = func(plain any) {
				if said, is := plain.(remarked); is {
					yamlRemark(sequence, item, string(said))
					return
				}
				value(plain)
			}
		}
		to.children = append(to.children, child)
		remarks(to, &item.FootComment)
	}
	if !handled {
		remarks(to, &sequence.FootComment)
	}
	return nil
}

// yamlRemark makes an item of a list the comment that it was before it was encrypted.
func yamlRemark(sequence, item *yaml.Node, said string) {
	at := slices.Index(sequence.Content, item)
	if at < 0 {
		return
	}
	sequence.Content = slices.Delete(sequence.Content, at, at+1)
	if at < len(sequence.Content) {
		next := sequence.Content[at]
		next.HeadComment = strings.TrimPrefix(next.HeadComment+"\n#"+said, "\n")
	}
}

func yamlLeaf(scalar *yaml.Node) (*node, error) {
	var value any
	if err := scalar.Decode(&value); err != nil || !known(value) {
		return nil, fmt.Errorf("line %d: a value of it is of a type that SOPS does not have", scalar.Line)
	}
	return &node{value: value, put: func(plain any) {
		kept := *scalar
		if err := scalar.Encode(plain); err != nil {
			*scalar = kept
			return
		}
		scalar.HeadComment, scalar.LineComment, scalar.FootComment = kept.HeadComment, kept.LineComment, kept.FootComment
	}}, nil
}
