package local

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shelf is a Local whose folder of programs has these, each of which prints a line.
func shelf(t *testing.T, programs map[string]string) *Local {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"umbel", "umbel-coredns", "umbel-pause"} {
		programs[name] = ""
	}
	for name, says := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho "+says+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := New(Needs{Home: t.TempDir(), Binaries: BinariesIn(dir)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestVersionsAreThoseOfTheBuildsThatAreThere(t *testing.T) {
	l := shelf(t, map[string]string{"umbel-kube": "v1.36.3", "umbel-kube-1.35": "v1.35.4", "umbel-kube-1.9": "v1.9.11"})
	got, err := l.Versions(t.Context())
	if diff := cmp.Diff([]string{"v1.9.11", "v1.35.4", "v1.36.3"}, got); diff != "" || err != nil {
		t.Errorf("(%v) (-want +got):\n%s", err, diff)
	}
	for wanted, name := range map[string]string{"": "umbel-kube", "v1.36.3": "umbel-kube", "v1.35.4": "umbel-kube-1.35"} {
		if path, err := l.kube(t.Context(), wanted); err != nil || filepath.Base(path) != name {
			t.Errorf("of %q: got %s, %v, want %s", wanted, path, err, name)
		}
	}
	if _, err := l.kube(t.Context(), "v1.34.1"); err == nil || !strings.Contains(err.Error(), "no umbel-kube of Kubernetes v1.34.1") {
		t.Errorf("of one that is not there: got %v", err)
	}
}

func TestABuildThatSaysNoVersionIsNamed(t *testing.T) {
	l := shelf(t, map[string]string{"umbel-kube": "v1.36.3", "umbel-kube-1.35": "hello"})
	if _, err := l.Versions(t.Context()); err == nil || !strings.Contains(err.Error(), "umbel-kube-1.35") {
		t.Errorf("got %v", err)
	}
}
