package clitest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestPlanOfAPullRequest plans a pull request against what runs: what it changes as text, as Markdown for its page and as an exit
// code for its check, and that nothing is left to do when it is merged.
func TestPlanOfAPullRequest(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operate/plan.md")
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(t)
	f.membersOf(t)
	repo := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=ada", "-c", "user.email=ada@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	commit := func(value string) {
		t.Helper()
		file := filepath.Join(repo, "apps", "shop", "map.yaml")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(planned, "%s", value)), 0o600); err != nil {
			t.Fatal(err)
		}
		git("add", ".")
		git("commit", "-q", "-m", value)
	}
	git("init", "-q", "-b", "main")
	commit("1")
	git("checkout", "-q", "-b", "theirs")
	commit("2")
	git("update-ref", "refs/pull/7/head", "theirs") // as GitHub and Gitea name it
	git("checkout", "-q", "main")
	git("branch", "-q", "-D", "theirs")
	t.Chdir(repo)
	runs(t, f)

	plan := func(args string) said {
		t.Helper()
		return f.run(t.Context(), strings.Fields("plan shop --clusters region=eu --exit-code "+args)...)
	}
	changes := func(out string) bool {
		var lines []string
		for _, line := range strings.Split(out, "\n") {
			lines = append(lines, strings.TrimSpace(line))
		}
		return strings.Contains(strings.Join(lines, "\n"), "-  a: \"1\"\n+  a: \"2\"\n")
	}
	if got := plan("--ref refs/pull/7/head"); got.Code != 3 || !strings.Contains(got.Out, "1 cluster: 1 to change, 0 stay (prod-eu)\n  ~ ConfigMap team-a/plan-prod") ||
		!changes(got.Out) {
		t.Errorf("as text: code %d:\n%s%s", got.Code, got.Out, got.Err)
	}
	if got := plan("--ref refs/pull/7/head -o markdown"); got.Code != 3 || !strings.Contains(got.Out, "```diff\n") || !changes(got.Out) {
		t.Errorf("as Markdown: code %d:\n%s%s", got.Code, got.Out, got.Err)
	}
	if got := plan("--ref main"); got.Code != 0 || !strings.Contains(got.Out, "1 cluster: nothing changes, 1 object") {
		t.Errorf("what runs: code %d:\n%s%s", got.Code, got.Out, got.Err)
	}
	planPage(t, f, repo, page)
}

// planPage runs the commands of docs/operate/plan.md, in a working tree with a change, but for those about a release (see
// TestPlanOfARelease).
func planPage(t *testing.T, f *fleet, repo string, page []byte) {
	t.Helper()
	pkg := filepath.Join(t.TempDir(), "package.yaml")
	for path, text := range map[string]string{
		filepath.Join(repo, "apps", "shop", "map.yaml"): strings.ReplaceAll(planned, "%s", "2"),
		pkg: "apiVersion: umbel.dev/v1alpha1\nkind: Package\nmetadata: {name: shop}\nspec:\n  placementRef: {name: shops}\n" +
			"  source: {git: {url: \"https://git.example.com/fleet.git\", path: apps/shop}}\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	here := strings.NewReplacer("../fleet", repo, "origin/new-limits", "refs/pull/7/head", `"$SHA"`, "refs/pull/7/head", "package.yaml", pkg, "env=prod", "region=eu")
	ran := 0
	for _, command := range regexp.MustCompile("`umbel (plan (?:shop|-f )[^`]*)`").FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(command[1], "--release") {
			continue
		}
		line := here.Replace(command[1])
		if !strings.Contains(line, "--clusters") {
			line += " --clusters region=eu" // the others do not answer
		}
		want := 0
		if strings.Contains(line, "--exit-code") {
			want = 3
		}
		if got := f.run(t.Context(), strings.Fields(line)...); got.Code != want || !strings.Contains(got.Out, "ConfigMap team-a/plan-prod") {
			t.Errorf("umbel %s: code %d, want %d:\n%s%s", line, got.Code, want, got.Out, got.Err)
		}
		ran++
	}
	if ran != 6 {
		t.Errorf("%d commands of the page ran, want 6", ran)
	}
}

// runs has the first state of the pull request's base on the member, as its agent applied it.
func runs(t *testing.T, f *fleet) {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "plan-prod", "namespace": "team-a", "labels": map[string]any{"umbel.dev/package": "default.shop"}},
		"data":     map[string]any{"a": "1"},
	}}
	apply := client.ApplyConfigurationFromUnstructured(object)
	if err := f.api.Apply(t.Context(), apply, client.FieldOwner("umbel-agent")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		object := &unstructured.Unstructured{}
		object.SetAPIVersion("v1")
		object.SetKind("ConfigMap")
		object.SetName("plan-prod")
		object.SetNamespace("team-a")
		if err := f.api.Delete(context.WithoutCancel(t.Context()), object); err != nil {
			t.Error(err)
		}
	})
}
