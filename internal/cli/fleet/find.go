package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/exit"
)

// Found is what a member has of what is looked for.
type Found struct {
	Cluster v1alpha1.ClusterName
	// Kind is what the word for it means there.
	Kind    schema.GroupVersionKind
	Objects []Object
	// None says that it has no such kind, and More that it has more objects than were read.
	None, More bool
	// Err says why it is not known what it has, or has beside these.
	Err error
}

// Object is an object, as its API server prints it.
type Object struct {
	metav1.PartialObjectMetadata
	// Printed says what it is printed with, but for its name and age, such as "Ready 1/1".
	Printed []string
}

// Find asks members for objects that are called so, and yields what each has as it comes. A name with a * is a pattern. What it matches is looked for
// among the first Most objects of a member: its API server knows no patterns.
func Find(ctx context.Context, members []Member, query Query, name string) (iter.Seq[Found], error) {
	if strings.Contains(query.Kind, "/") {
		return nil, exit.Usagef("%q is a kind and a name: give the kind alone", query.Kind)
	}
	matches := func(string) bool { return true }
	if strings.Contains(name, "*") {
		if _, err := path.Match(name, ""); err != nil {
			return nil, exit.Usagef("the name %q cannot be read: * stands for any part of a name", name)
		}
		matches = func(other string) bool { is, err := path.Match(name, other); return is && err == nil }
	} else {
		query.Fields = fields.OneTermEqualSelector("metadata.name", name).String()
	}
	if err := query.Parse([]string{query.Kind}); err != nil {
		return nil, err
	}
	return func(yield func(Found) bool) {
		for said := range AsTheyCome(ctx, members, func(ctx context.Context, m Member) answer { return ask(ctx, m, query, asTable) }) {
			if !yield(foundIn(said, matches)) {
				return
			}
		}
	}, nil
}

// Read asks one member for one object: the first that the query names.
func Read(ctx context.Context, member Member, query Query) (*unstructured.Unstructured, error) {
	said := ask(ctx, member, query, asObjects)
	if said.err != nil {
		return nil, said.err
	}
	object := &unstructured.Unstructured{}
	return object, json.Unmarshal(said.pages[0], &object.Object)
}

// foundIn reads an answer.
func foundIn(said answer, matches func(string) bool) Found {
	found := Found{Cluster: said.cluster, Kind: said.kind, More: said.more, Err: said.err}
	if _, none := errors.AsType[*noKind](said.err); none {
		return Found{Cluster: said.cluster, None: true}
	}
	columns, rows, err := rowsOf(said.pages)
	if err != nil {
		found.Err = errors.Join(found.Err, err)
		return found
	}
	for _, row := range rows {
		if !matches(row.object.Name) {
			continue
		}
		object := Object{PartialObjectMetadata: row.object}
		for i, column := range columns {
			said := ""
			if i < len(row.cells) {
				said = text(row.cells[i]).Text
			}
			if column.Priority == 0 && column.Name != "Name" && column.Name != "Age" && said != "" {
				object.Printed = append(object.Printed, fmt.Sprintf("%s %s", column.Name, said))
			}
		}
		found.Objects = append(found.Objects, object)
	}
	return found
}
