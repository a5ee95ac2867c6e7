package sourcetest

import (
	"os"
	"path/filepath"
	"testing"
)

// helmBinary is helm: $UMBEL_HELM, else build/bin of the repository.
func helmBinary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("UMBEL_HELM")
	if path == "" {
		path = filepath.Join(root(t), "build", "bin", "helm")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("no helm at %s: run `make helm`, or set UMBEL_HELM to the program", path)
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
