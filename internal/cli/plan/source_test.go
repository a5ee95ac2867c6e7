package plan

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// TestAFileFetchesNothingThatItsAuthorMayNot: whoever plans a file with rights of their own lends none of them to who wrote it.
func TestAFileFetchesNothingThatItsAuthorMayNot(t *testing.T) {
	base := func(url, ref, secret string) v1alpha1.RemoteBase {
		b := v1alpha1.RemoteBase{URL: url, Ref: ref}
		if secret != "" {
			b.SecretRef = &v1alpha1.LocalReference{Name: secret}
		}
		return b
	}
	shop := func(bases ...v1alpha1.RemoteBase) *v1alpha1.Package {
		return &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"},
			Spec: v1alpha1.PackageSpec{Kustomize: &v1alpha1.KustomizeOptions{RemoteBases: bases}}}
	}
	known := shop(base("https://git.example.com/web", "v1", "any"), base("file:///srv/web", "v1", ""))
	only := func(secret string) (string, error) {
		address, has := map[string]string{"any": "", "bound": "https://git.example.com"}[secret]
		if !has {
			return "", errors.New("there is none")
		}
		return address, nil
	}
	for _, tc := range []struct {
		reason string
		base   v1alpha1.RemoteBase
		want   string
	}{
		{"what everybody may read", base("https://evil.example/x", "v1", ""), ""},
		{"what the hub's Package has", base("https://git.example.com/web", "v2", "any"), ""},
		{"a folder that it has", base("file:///srv/web", "v2", ""), ""},
		{"a Secret that is for one address alone", base("https://git.example.com/other", "v1", "bound"), ""},
		{"a Secret for somebody else", base("https://evil.example/x", "v1", "any"), "secret any would be sent to https://evil.example/x"},
		{"another Secret for an address that it has", base("https://git.example.com/web", "v1", "more"), "reading secret more: there is none"},
		{"a folder of this machine", base("file:///home/ada/x", "v1", ""), "file:///home/ada/x is a folder of this machine"},
		{"in capitals", base("FILE:///home/ada/x", "v1", ""), "is a folder of this machine"},
	} {
		err := mayFetch("pkg.yaml", shop(tc.base), known, only)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "pkg.yaml: spec.kustomize.remoteBases[0]")) {
			t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
		}
	}
}
