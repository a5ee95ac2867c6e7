// Package output answers: how does a command write what it found?
//
// It knows streams and whether they are a terminal, tables whose columns line up with and without colour, the formats
// that people ask for with -o, and ages. It knows no kind of the API and reads nothing: what stands in a cell is
// decided elsewhere (package view).
//
// Laws, with their reasons:
//
//   - Colour only on a terminal and without NO_COLOR (https://no-color.org): what a program reads is plain.
//   - Results go to Out, everything that is said about them to Err: `umbel get … | wc -l` counts results.
package output
