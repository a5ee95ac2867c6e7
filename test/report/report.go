// Package report writes down what benchmarks measure: a table for people and build/bench/NAME.json for programs, which is
// an array of {name, value, unit, goal, better}.
package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"umbel.dev/umbel/test/rig"
)

// Figure is one measured number. Goal is what it should be at least or at most, 0 where there is none.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Goal   float64 `json:"goal"`
	Better string  `json:"better"`
}

// Report is the figures of one benchmark.
type Report struct {
	name    string
	figures []Figure
}

// New returns a report without figures.
func New(name string) *Report { return &Report{name: name} }

// Lower adds a figure that is the better the lower it is.
func (r *Report) Lower(name string, value float64, unit string, goal float64) {
	r.add(Figure{name, value, unit, goal, "lower"})
}

// Higher adds a figure that is the better the higher it is.
func (r *Report) Higher(name string, value float64, unit string, goal float64) {
	r.add(Figure{name, value, unit, goal, "higher"})
}

func (r *Report) add(f Figure) {
	r.figures = append(r.figures, f)
	fmt.Fprintf(os.Stderr, "  %s: %.4g %s\n", f.Name, f.Value, f.Unit)
}

// Write prints the table and writes build/bench/NAME.json.
func (r *Report) Write() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\n%s\tVALUE\tUNIT\tGOAL\t\n", r.name)
	for _, f := range r.figures {
		goal, met := "", ""
		if f.Goal != 0 {
			goal = fmt.Sprintf("%.4g", f.Goal)
			if met = "met"; f.Better == "lower" && f.Value > f.Goal || f.Better == "higher" && f.Value < f.Goal {
				met = "MISSED"
			}
		}
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\n", f.Name, f.Value, f.Unit, goal, met)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r.figures, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Join(rig.Root(), "build", "bench")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, r.name+".json"), append(raw, '\n'), 0o644)
}

// Percentile of durations, in milliseconds; q is within 0..1.
func Percentile(all []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 0 {
		return 0
	}
	i := min(len(sorted)-1, int(q*float64(len(sorted))))
	return float64(sorted[i]) / float64(time.Millisecond)
}
