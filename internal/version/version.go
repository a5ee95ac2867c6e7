// Package version says which build of Umbel this is.
package version

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// Version is set by the linker (see the Makefile).
var Version = "v0.0.0-dev"

// Build returns the name of a program of this version: the version, a hyphen, and the first 12 hex digits of the SHA-256 of
// the file. It is fit for the tag of an image.
func Build(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	return strings.ReplaceAll(Version, "+", "-") + "-" + hex.EncodeToString(sum.Sum(nil)[:6]), nil
}

// Running returns the Build of the program that runs.
var Running = sync.OnceValues(func() (string, error) { return Build("/proc/self/exe") })
