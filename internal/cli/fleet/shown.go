package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
)

// asTable asks an API server to print; asObjects for objects as they are.
const (
	asTable   = "application/json;as=Table;g=meta.k8s.io;v=v1"
	asObjects = "application/json"
)

// shown is what is written, answer by answer.
type shown struct {
	Writer
	query Query

	table *output.Table
	found int
	items []any // of a list, which is written at the end
}

func newShown(query Query, to Writer) *shown {
	return &shown{Writer: to, query: query, items: []any{}}
}

func (s *shown) objects() bool { return s.Format == output.JSON || s.Format == output.YAML }

func (s *shown) accept() string {
	if s.objects() {
		return asObjects
	}
	return asTable
}

// add writes an answer, or keeps it for the list.
func (s *shown) add(said answer) error {
	var err error
	if s.objects() {
		err = s.addObjects(said)
	} else {
		err = s.addRows(said)
	}
	if err != nil {
		return fmt.Errorf("its answer cannot be written: %w", err)
	}
	return nil
}

// end writes what has to wait for all answers.
func (s *shown) end(failed int) error {
	if s.objects() {
		return output.Encode(s.Out, s.Format, map[string]any{
			"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}, "items": s.items,
		})
	}
	if s.found == 0 && failed == 0 {
		s.Note("No resources found")
	}
	return nil
}

// addObjects keeps the objects, each with the name of its cluster.
func (s *shown) addObjects(said answer) error {
	var items []unstructured.Unstructured
	for _, page := range said.pages {
		var content map[string]any
		if err := json.Unmarshal(page, &content); err != nil {
			return err
		}
		object := unstructured.Unstructured{Object: content}
		if !object.IsList() {
			items = append(items, object)
			continue
		}
		list, err := object.ToList()
		if err != nil {
			return err
		}
		items = append(items, list.Items...)
	}
	slices.SortStableFunc(items, func(a, b unstructured.Unstructured) int { return byName(&a, &b) })
	for _, item := range items {
		annotations := item.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.ClusterAnnotation] = string(said.cluster)
		item.SetAnnotations(annotations)
		item.SetManagedFields(nil)
		item.SetGroupVersionKind(said.kind) // objects of a list do not say it
		s.items = append(s.items, item.Object)
	}
	return nil
}

// row is one of a table, and whose it is.
type row struct {
	object metav1.PartialObjectMetadata
	cells  []any
}

// addRows writes what the API server printed, below CLUSTER and, where it differs, NAMESPACE. A member that prints a
// kind with other columns, because its version is another, gets headers of its own.
func (s *shown) addRows(said answer) error {
	columns, rows, err := rowsOf(said.pages)
	if err != nil || len(rows) == 0 {
		return err
	}
	s.found += len(rows)
	if s.Format == output.Name {
		return s.writeNames(said, rows)
	}
	headers := []string{"CLUSTER"}
	everywhere := said.namespaced && s.query.Namespace == ""
	if everywhere {
		headers = append(headers, "NAMESPACE")
	}
	for _, column := range columns {
		if s.shows(column) {
			headers = append(headers, strings.ToUpper(column.Name))
		}
	}
	if s.table == nil || !slices.Equal(s.table.Headers, headers) {
		s.table = &output.Table{Headers: headers, HideHeaders: s.NoHeaders}
	}
	var lines [][]output.Cell
	for _, row := range rows {
		line := output.Cells(string(said.cluster))
		if everywhere {
			line = append(line, output.Text(row.object.Namespace))
		}
		for i, column := range columns {
			if s.shows(column) && i < len(row.cells) {
				line = append(line, text(row.cells[i]))
			}
		}
		lines = append(lines, line)
	}
	return s.table.Write(s.Out, lines)
}

func (s *shown) shows(column metav1.TableColumnDefinition) bool {
	return column.Priority == 0 || s.Format == output.Wide
}

// writeNames writes a cluster and KIND/NAME in each line.
func (s *shown) writeNames(said answer, rows []row) error {
	kind := strings.ToLower(said.kind.Kind)
	if said.kind.Group != "" {
		kind += "." + said.kind.Group
	}
	for _, row := range rows {
		if _, err := fmt.Fprintf(s.Out, "%s %s/%s\n", said.cluster, kind, row.object.Name); err != nil {
			return err
		}
	}
	return nil
}

// rowsOf reads tables that are pages of one, sorted.
func rowsOf(pages [][]byte) ([]metav1.TableColumnDefinition, []row, error) {
	var columns []metav1.TableColumnDefinition
	var rows []row
	for _, page := range pages {
		var table metav1.Table
		if err := json.Unmarshal(page, &table); err != nil {
			return nil, nil, err
		}
		if table.Kind != "Table" {
			return nil, nil, fmt.Errorf("it does not print this kind (it sent a %s): ask for -o yaml", table.Kind)
		}
		if len(columns) == 0 {
			columns = table.ColumnDefinitions // later pages may leave them out
		}
		for _, printed := range table.Rows {
			r := row{cells: printed.Cells}
			if err := json.Unmarshal(printed.Object.Raw, &r.object); err != nil {
				return nil, nil, err
			}
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return byName(&a.object, &b.object) })
	return columns, rows, nil
}

func byName(a, b metav1.Object) int {
	return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
}

func text(cell any) output.Cell {
	if cell == nil {
		return output.Text("")
	}
	return output.Text(fmt.Sprint(cell))
}
