package adopt

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestAFolderHereIsReadAndNothingElse: a link that leads out of the folder that --from names leads to nothing.
func TestAFolderHereIsReadAndNothingElse(t *testing.T) {
	outside := t.TempDir()
	folder := filepath.Join(outside, "tree")
	for name, content := range map[string]string{"secret.yaml": "kind: Secret\n", "tree/app/a.yaml": "kind: ConfigMap\n"} {
		name = filepath.Join(outside, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../../secret.yaml", filepath.Join(folder, "app", "b.yaml")); err != nil {
		t.Fatal(err)
	}
	m := &move{Options: &Options{Manner: Manner{From: folder}}}
	pkg := &v1alpha1.Package{Spec: v1alpha1.PackageSpec{Source: v1alpha1.Source{Git: &v1alpha1.GitSource{Path: "app"}}}}
	files, _, clean, err := m.files(t.Context(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	defer clean()
	if content, err := fs.ReadFile(files, "app/a.yaml"); err != nil || string(content) != "kind: ConfigMap\n" {
		t.Errorf("what is in it: %q, %v", content, err)
	}
	if content, err := fs.ReadFile(files, "app/b.yaml"); err == nil {
		t.Errorf("a link out of it was followed: %q", content)
	}
	m.From = filepath.Join(outside, "nowhere")
	if _, _, _, err := m.files(t.Context(), pkg); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
