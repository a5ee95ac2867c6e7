// Package version says which build of Umbel this is.
package version

// Version is set by the linker (see the Makefile).
var Version = "v0.0.0-dev"
