package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

var errNoJSON = errors.New("it is no JSON")

func readJSON(text []byte) (*File, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') {
		return nil, errNoJSON
	}
	document := &node{kind: branch}
	if err := jsonInto(decoder, document, 0); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("there is more than one document in it")
	}
	f := &File{Format: JSON, documents: []*node{document}}
	if f.metadata, err = readMetadata(document.take("sops")); err != nil {
		return nil, err
	}
	f.write = func() ([]byte, error) { return writeJSON(document) }
	return f, nil
}

// jsonInto reads the rest of a branch or list, in its order.
func jsonInto(decoder *json.Decoder, to *node, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	for decoder.More() {
		child := &node{}
		if to.kind == branch {
			key, err := decoder.Token()
			if err != nil {
				return errNoJSON
			}
			child.key = key.(string) // the decoder lets nothing else pass
		}
		if err := jsonValue(decoder, child, depth); err != nil {
			return err
		}
		to.children = append(to.children, child)
	}
	if _, err := decoder.Token(); err != nil {
		return errNoJSON
	}
	return to.unique()
}

func jsonValue(decoder *json.Decoder, to *node, depth int) error {
	token, err := decoder.Token()
	if err != nil {
		return errNoJSON
	}
	switch token := token.(type) {
	case json.Delim:
		to.kind = list
		if token == '{' {
			to.kind = branch
		}
		return jsonInto(decoder, to, depth+1)
	case json.Number:
		if to.value, err = number(token); err != nil {
			return err
		}
	default:
		to.value = token
	}
	to.put = func(value any) {
		to.value = value
		if said, is := value.(remarked); is {
			to.kind, to.value = remark, string(said)
		}
	}
	return nil
}

// number is a whole one where it can be, as SOPS has it.
func number(text json.Number) (any, error) {
	if whole, err := text.Int64(); err == nil {
		return int(whole), nil
	}
	float, err := text.Float64()
	if err != nil {
		return nil, errors.New("a number of it is too large")
	}
	return float, nil
}

func writeJSON(document *node) ([]byte, error) {
	var packed, out bytes.Buffer
	if err := jsonFrom(&packed, document); err != nil {
		return nil, errors.New("writing it as JSON")
	}
	if err := json.Indent(&out, packed.Bytes(), "", "\t"); err != nil {
		return nil, errors.New("writing it as JSON")
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func jsonFrom(out *bytes.Buffer, n *node) error {
	if n.kind == leaf {
		raw, err := json.Marshal(n.value)
		out.Write(raw)
		return err
	}
	ends := "[]"
	if n.kind == branch {
		ends = "{}"
	}
	out.WriteByte(ends[0])
	first := true
	for _, child := range n.children {
		if child.kind == remark {
			continue // there are none in JSON
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		if n.kind == branch {
			key, err := json.Marshal(child.key)
			if err != nil {
				return err
			}
			out.Write(append(key, ':'))
		}
		if err := jsonFrom(out, child); err != nil {
			return err
		}
	}
	out.WriteByte(ends[1])
	return nil
}
