// Package examples holds the example fleet that `umbel up` starts with, as data.
package examples

import "embed"

// Fleet holds the files of the example repository below fleet/.
//
//go:embed fleet
var Fleet embed.FS

// Packages are the Placements and Packages of the example as YAML, with REPOSITORY for the repository's address.
//
//go:embed packages.yaml
var Packages string
