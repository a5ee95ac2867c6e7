package get

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// table writes objects of one kind as rows.
type table struct {
	*Options
	output.Table
	row func(view.Moment, *unstructured.Unstructured) ([]output.Cell, error)
}

func (o *Options) newTable() *table {
	t := &table{Options: o, Table: output.Table{Palette: o.Palette(o.Out), HideHeaders: o.NoHeaders}}
	switch o.Kind {
	case kinds.Clusters:
		arrange(t, clusterColumns)
	case kinds.Packages:
		arrange(t, packageColumns)
	case kinds.Placements:
		arrange(t, placementColumns)
	case kinds.Releases:
		arrange(t, releaseColumns)
	case kinds.Rollouts:
		arrange(t, rolloutColumns)
	case kinds.Plans:
		arrange(t, planColumns)
	case kinds.Scopes:
		arrange(t, scopeColumns)
	}
	return t
}

// arrange gives the table the columns of a kind.
func arrange[T any](t *table, from columns[T]) {
	shown := from.always
	if t.Format == output.Wide {
		shown = append(shown[:len(shown):len(shown)], from.wide...)
	}
	if t.Everywhere && t.Kind.Scope == kinds.Namespaced {
		t.Headers = append(t.Headers, "NAMESPACE")
	}
	for _, column := range shown {
		t.Headers = append(t.Headers, column.header)
	}
	t.row = func(moment view.Moment, item *unstructured.Unstructured) ([]output.Cell, error) {
		var object T
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &object); err != nil {
			return nil, fmt.Errorf("reading %s %q: %w", t.Kind.Singular, item.GetName(), err)
		}
		var cells []output.Cell
		if len(t.Headers) > len(shown) {
			cells = append(cells, output.Text(item.GetNamespace()))
		}
		for _, column := range shown {
			cells = append(cells, column.cell(moment, &object))
		}
		return cells, nil
	}
}

func (t *table) write(moment view.Moment, items []unstructured.Unstructured) error {
	rows := make([][]output.Cell, len(items))
	for i := range items {
		row, err := t.row(moment, &items[i])
		if err != nil {
			return err
		}
		rows[i] = row
	}
	return t.Table.Write(t.Out, rows)
}
