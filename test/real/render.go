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
		makes = render.Chart(files, p.Folder, render.ChartOptions{ReleaseName: p.Name, Namespace: "default"})
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

// Rounds are Packages that can be on one cluster at the same time: none has an object of another, or a namespace. Those
// that are refused are in none.
func Rounds(files fs.FS) ([][]Package, error) {
	type round struct {
		packages []Package
		claims   map[bundle.Key]bool
	}
	var rounds []*round
	for _, p := range Packages {
		if p.Refused != "" {
			continue
		}
		entries, err := Render(files, p)
		if err != nil {
			return nil, err
		}
		claims := map[bundle.Key]bool{}
		for _, entry := range entries {
			id, err := bundle.Identify(entry.Object)
			if err != nil {
				return nil, err
			}
			claims[id.Key()] = true
			if id.Namespace != "" {
				claims[bundle.Key{Kind: "Namespace", Name: id.Namespace}] = true
			}
		}
		var at *round
		for _, candidate := range rounds {
			meets := false
			for key := range claims {
				meets = meets || candidate.claims[key]
			}
			if !meets {
				at = candidate
				break
			}
		}
		if at == nil {
			at = &round{claims: map[bundle.Key]bool{}}
			rounds = append(rounds, at)
		}
		at.packages = append(at.packages, p)
		for key := range claims {
			at.claims[key] = true
		}
	}
	var all [][]Package
	for _, r := range rounds {
		all = append(all, r.packages)
	}
	return all, nil
}
