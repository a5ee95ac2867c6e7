package adopt

import (
	"strings"
	"testing"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestAskedWrongly: what is asked wrongly, and what is not to be done, changes nothing and says why.
func TestAskedWrongly(t *testing.T) {
	w := start(t)
	const ns = "by-mistake"
	repo := sourcetest.New(t)
	files := objects(ns, 12)
	repo.Commit(under("apps", files))
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps/namespace.yaml")
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps")
	more := map[string]string{"apps/more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more, namespace: " + ns + "}\n"}
	for name, text := range under("apps", files) {
		more[name] = strings.Replace(text, "some text", "another text", 1)
	}
	before, writes := w.states(t, ns), w.writes(t)
	whole := []string{"adopt", "kubectl", "mistake", "-A", "--cluster", cluster, "--git", repo.URL(), "--path", "apps"}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"adopt kubectl", 2, "PACKAGE is missing"},
		{"adopt kubectl mistake", 2, "say which cluster: --cluster NAME"},
		{"adopt kubectl mistake -A -n x --cluster prod-eu", 2, "give -n or -A, not both"},
		{"adopt kubectl Mistake_ --cluster prod-eu", 2, "--to gives it another one"},
		{"adopt kubectl mistake --cluster nowhere", 1, "nowhere"},
		{"adopt kubectl mistake -n nothing-there --cluster prod-eu", 1, "nothing that `kubectl apply` put there"},
		{"adopt kustomization mistake --cluster prod-eu", 1, "on cluster prod-eu: there are no kustomizations.kustomize.toolkit.fluxcd.io in version v1"},
		{"adopt helm x", 2, "there is no command \"helm\""},
		{"adopt back mistake", 2, "say which cluster"},
		{"adopt back mistake --cluster prod-eu", 1, "there is no package default/mistake"},
		{strings.Join(whole, " "), 1, "nothing was changed: --yes answers for you"},
	} {
		if got := w.umbel(t.Context(), strings.Fields(c.args)...); got.Code != c.code || !strings.Contains(got.Err, c.says) {
			t.Errorf("umbel %s: code %d, want %d and %q:\n%s", c.args, got.Code, c.code, c.says, got.Err)
		}
	}
	yaml := w.does(t, append(whole, "-o", "yaml")...)
	for _, want := range []string{"kind: Package\n", "kind: Placement\n", "    - prod-eu\n", "path: apps\n"} {
		if !strings.Contains(yaml.Out, want) {
			t.Errorf("%q is not in:\n%s", want, yaml.Out)
		}
	}
	if there := w.umbel(t.Context(), "get", "package", "mistake"); there.Code == 0 {
		t.Error("the package was made all the same")
	}
	repo.Commit(more)
	differs := w.umbel(t.Context(), append(whole, "--yes")...)
	for _, want := range []string{"ConfigMap " + ns + "/more", "+  text: another text", "nothing was changed: ", " that is not there"} {
		if differs.Code != 1 || !strings.Contains(differs.Err, want) {
			t.Errorf("%q is not in (code %d):\n%s", want, differs.Code, differs.Err)
		}
	}
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{})
}
