package sourcetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program finds one that make builds: $UMBEL_NAME, else build/bin of the repository.
func program(t testing.TB, name, target string) string {
	t.Helper()
	variable := strings.ToUpper(name)
	if !strings.HasPrefix(variable, "UMBEL") {
		variable = "UMBEL_" + variable
	}
	variable = strings.ReplaceAll(variable, "-", "_")
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join(root(t), "build", "bin", name)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no %s at %s: run `make %s`, or set %s to the program", name, path, target, variable)
	}
	return path
}

// root is the repository: a test runs in the folder of its package.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for at := dir; at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
	}
	t.Fatalf("no go.mod above %s", dir)
	return ""
}

// writeFiles writes files below a folder.
func writeFiles(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
