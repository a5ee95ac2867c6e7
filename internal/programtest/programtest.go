// Package programtest answers: where is a program that `make` built for tests? Such programs take minutes to build, or are
// modules of their own, so that no test builds them.
package programtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The working directory is asked at the start: a test may change it. (What the compiler knows of the source is no path
// where it was told -trimpath.)
var root, errRoot = find()

func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("no go.mod at or above %s: tests and benchmarks run in the repository", dir)
}

// Root returns the root of the repository: the nearest folder with a go.mod, from that in which the process began.
func Root() (string, error) { return root, errRoot }

// Path returns the path of a program in build/bin. The error for one that is not there names the target that makes it, which
// is called like the program, without umbel-.
func Path(name string) (string, error) {
	if errRoot != nil {
		return "", errRoot
	}
	path := filepath.Join(root, "build", "bin", name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("no %s at %s: run `make %s`", name, path, strings.TrimPrefix(name, "umbel-"))
	}
	return path, nil
}

// Of is Path for a test, which fails where the program is not there.
func Of(t testing.TB, name string) string {
	t.Helper()
	path, err := Path(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Alone is Of a program that listens on fixed ports. It waits until no other test on this machine has it, and keeps it from them
// until this one ends.
func Alone(t testing.TB, name string) string {
	t.Helper()
	path := Of(t, name)
	program, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	if err := unix.Flock(int(program.Fd()), unix.LOCK_EX); err != nil {
		t.Fatalf("locking %s: %v", path, err)
	}
	return path
}
