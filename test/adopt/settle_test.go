package adopt

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestFromThePackageIntoARepository: objects that stand in the Package move into a repository that has the same ones, and none of them is
// written; one that has others is refused, and nothing changes.
func TestFromThePackageIntoARepository(t *testing.T) {
	w := start(t)
	const ns, few = "by-settling", 20
	files := objects(ns, few)
	repo := sourcetest.New(t)
	repo.Commit(under("apps", files))
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps/namespace.yaml")
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps")
	before, managers := w.states(t, ns), w.managers(t, ns)
	args := []string{"adopt", "kubectl", "settling", "-n", ns, "--cluster", cluster}
	w.does(t, append(args, "--yes")...)
	w.theSame(t, ns, before)
	source := func() v1alpha1.Source {
		t.Helper()
		var pkg v1alpha1.Package
		if err := w.hub.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "settling"}, &pkg); err != nil {
			t.Fatal(err)
		}
		return pkg.Spec.Source
	}
	if source().Inline == nil {
		t.Fatalf("its objects do not stand in it: %+v", source())
	}

	// What --write writes is what stands in the Package: without the namespace, which nobody applied there.
	delete(files, "namespace.yaml")
	whole := under("apps", files)
	writes := w.writes(t)
	into := append(args[:len(args):len(args)], "--git", repo.URL(), "--path", "apps")
	for _, c := range []struct {
		reason string
		change func(map[string]string)
		says   string
	}{
		{"an object is another one", func(all map[string]string) {
			for name, text := range all {
				all[name] = strings.Replace(text, "some text", "another text", 1)
			}
		}, "would not stay as"},
		{"some objects are not in it", func(all map[string]string) { delete(all, "apps/kind-0.yaml") }, "not in the source"},
		{"an object is in it that is not there", func(all map[string]string) {
			all["apps/more.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more, namespace: " + ns + "}\n"
		}, "1 object that is not there"},
	} {
		all := map[string]string{}
		for name, text := range whole {
			all[name] = text
		}
		c.change(all)
		repo.Commit(all)
		if got := w.umbel(t.Context(), append(into, "--yes")...); got.Code != 1 || !strings.Contains(got.Err, "nothing was changed: ") || !strings.Contains(got.Err, c.says) {
			t.Errorf("%s (code %d): %q is not in:\n%s", c.reason, got.Code, c.says, got.Err)
		}
		if source().Inline == nil {
			t.Fatalf("%s: the source is %+v", c.reason, source())
		}
	}
	w.wrote(t, writes, map[string]int{})

	repo.Commit(whole)
	if plan := w.does(t, append(into, "--dry-run")...); !strings.Contains(plan.Out, "the repository takes their place") {
		t.Errorf("the plan:\n%s", plan.Out)
	}
	done := w.does(t, append(into, "--yes")...)
	if !strings.Contains(done.Out, "come from path apps of "+repo.URL()) || source().Git == nil || source().Git.Path != "apps" {
		t.Errorf("it said %q, and the source is %+v", done.Out, source())
	}
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{})
	w.does(t, append(into, "--yes")...) // once more
	elsewhere := append(args[:len(args):len(args)], "--git", repo.URL(), "--path", "other", "--yes")
	if got := w.umbel(t.Context(), elsewhere...); got.Code != 1 || !strings.Contains(got.Err, "has another source") {
		t.Errorf("from elsewhere (code %d):\n%s", got.Code, got.Err)
	}
	w.wrote(t, writes, map[string]int{})

	w.does(t, "adopt", "back", "settling", "--cluster", cluster, "--yes")
	w.theSame(t, ns, before)
	if now := w.managers(t, ns); len(now) != len(managers) {
		t.Errorf("managers were %v, are %v", managers, now)
	}
}
