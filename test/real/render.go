package real

import (
	"io/fs"

	"umbel.dev/umbel/internal/delivery/bundle"
	"umbel.dev/umbel/internal/delivery/render"
	"umbel.dev/umbel/internal/delivery/variable"
)

// Belgium is the cluster that gets everything.
var Belgium = variable.Cluster{Name: "belgium", Labels: map[string]string{"environment": "prod", "location": "belgium"}}

// Render returns what Belgium gets of a Package, whose folder is in files.
func Render(files fs.FS, p Package) ([]bundle.Entry, error) {
	makes := render.Folder(files, p.Folder)
	isChart, err := render.IsChart(files, p.Folder)
	if err != nil {
		return nil, err
	}
	if isChart {
		makes = render.Chart(files, p.Folder, render.ChartOptions{
			ReleaseName: p.Name, Namespace: "default", ValuesFiles: p.ValuesFiles, Values: []render.Values{{From: "values of " + p.Name, Document: []byte(p.Values)}},
		})
	}
	variants := []render.Variant{{Choice: render.Choice{Components: p.Components}}}
	family, err := render.Variants(makes, variants, []variable.Cluster{Belgium})
	if err != nil {
		return nil, err
	}
	values := make([]string, len(family.Variables))
	for i, name := range family.Variables {
		values[i], _ = variable.Value(name, Belgium)
	}
	return family.For(values)
}
