package main

import "testing"

// TestPlaceFigure: a line of a benchmark is read by its units, and a line that lacks the one that is asked for is no zero.
func TestPlaceFigure(t *testing.T) {
	for _, tc := range []struct {
		line, kind string
		ms         float64
		is, fails  bool
	}{
		{line: "BenchmarkLabelChange/seats/clusters=10000-2  20  1734445 ns/op  1.331 cpu-ms/op  100.0 placements/op", kind: "seats", ms: 1.331, is: true},
		{line: "BenchmarkLabelChange/seats/clusters=10000-2  20  1734445 ns/op", fails: true},
		{line: "BenchmarkLabelChange/seats/clusters=10000-2  20  many cpu-ms/op", kind: "seats", fails: true},
		{line: "PASS"},
		{line: ""},
	} {
		kind, ms, is, err := placeFigure(tc.line)
		if kind != tc.kind || ms != tc.ms || is != tc.is || (err != nil) != tc.fails {
			t.Errorf("%q: got %q, %v, %v, %v", tc.line, kind, ms, is, err)
		}
	}
}
