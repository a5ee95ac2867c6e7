package plan

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery/render"
)

// TestAFolderIsReadAndNothingElse: a link that leads out of the folder is an error, and what was made for a plan is gone with it.
func TestAFolderIsReadAndNothingElse(t *testing.T) {
	outside, temporary := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	write(filepath.Join(outside, "secret.yaml"), object)
	root := filepath.Join(outside, "tree")
	if err := os.MkdirAll(filepath.Join(root, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(root, "app", "a.yaml"), object)
	var said bytes.Buffer
	o := &Options{Factory: client.New(output.Streams{Out: &said, Err: &said}), From: root}
	pkg := &v1alpha1.Package{}
	pkg.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example.com/fleet", Path: "app"}
	rendering := func() (*render.Rendered, error) {
		t.Helper()
		from, err := o.open(t.Context(), nil, pkg)
		if err != nil {
			t.Fatal(err)
		}
		defer from.close()
		return from.makes(render.Choice{})
	}
	if rendered, err := rendering(); err != nil || rendered.Len() != 1 {
		t.Fatalf("got %v, %v, want one object", rendered, err)
	}
	if !strings.Contains(said.String(), "Note: what renders is neither limited nor confined here") {
		t.Errorf("beside a test there is no umbel, and it says %q", said.String())
	}
	if err := os.Symlink("../../secret.yaml", filepath.Join(root, "app", "b.yaml")); err != nil {
		t.Fatal(err)
	}
	if rendered, err := rendering(); err == nil || !strings.Contains(err.Error(), "b.yaml") {
		t.Errorf("a link out of the folder: %v, %v", rendered, err)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v (%v)", left, err)
	}
}
