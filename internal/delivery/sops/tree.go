package sops

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// kind is what a node of a file is.
type kind int

const (
	leaf   kind = iota // one value
	branch             // values by keys, in an order
	list               // values in an order
	remark             // a comment, which SOPS encrypts as well
)

// node is a value in a file, with what is in it.
type node struct {
	key      string
	kind     kind
	children []*node
	// value of a leaf: a string, int, float64, bool, time.Time or nil; of a remark its text.
	value any
	// put brings a value to the place that it was read from, so that the file can be written as it was.
	put func(any)
}

// maxDepth bounds how deep files are nested; objects of Kubernetes and values of programs are far from it.
const maxDepth = 100

var errDeep = errors.New("it is nested too deep")

// visitor is called for every leaf and remark in their order, with the keys that lead to it, and the comments that stand
// before it and before what it is in.
type visitor func(n *node, path []string, remarks [][]string) error

func (n *node) walk(path []string, remarks [][]string, visit visitor) error {
	remarks = append(remarks[:len(remarks):len(remarks)], nil)
	last := &remarks[len(remarks)-1]
	for _, child := range n.children {
		at := path
		if child.kind == remark {
			*last = append(*last, child.value.(string))
		} else if n.kind == branch {
			at = append(path[:len(path):len(path)], child.key)
		}
		if err := child.step(at, remarks, visit); err != nil {
			return err
		}
		if child.kind != remark {
			*last = nil
		}
	}
	return nil
}

func (n *node) step(path []string, remarks [][]string, visit visitor) error {
	switch {
	case n.kind == branch || n.kind == list:
		if len(path) > maxDepth || len(remarks) > maxDepth {
			return errDeep
		}
		return n.walk(path, remarks, visit)
	case n.kind == leaf && n.value == nil:
		return nil
	}
	return visit(n, path, remarks)
}

// get returns the child of a branch.
func (n *node) get(key string) *node {
	for _, child := range n.children {
		if child.kind != remark && child.key == key {
			return child
		}
	}
	return nil
}

// text is the string at a path; empty when there is none.
func (n *node) text(path ...string) string {
	for _, key := range path {
		if n = n.get(key); n == nil {
			return ""
		}
	}
	text, _ := n.value.(string)
	return text
}

// take returns the child of a branch and removes it.
func (n *node) take(key string) *node {
	for i, child := range n.children {
		if child.kind != remark && child.key == key {
			n.children = append(n.children[:i:i], n.children[i+1:]...)
			return child
		}
	}
	return nil
}

// unique makes sure that no key of a branch is there twice: which of the two was meant?
func (n *node) unique() error {
	if n.kind != branch {
		return nil
	}
	seen := make(map[string]bool, len(n.children))
	for _, child := range n.children {
		if child.kind == remark {
			continue
		}
		if seen[child.key] {
			return fmt.Errorf("%s is there twice", strings.ToValidUTF8(child.key, "?"))
		}
		seen[child.key] = true
	}
	return nil
}

// known says whether a value is of a type that SOPS has.
func known(value any) bool {
	switch value.(type) {
	case nil, string, int, float64, bool, time.Time:
		return true
	}
	return false
}
