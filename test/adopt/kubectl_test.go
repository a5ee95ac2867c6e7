package adopt

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// TestKubectl moves in with what kubectl itself applied, and out again.
func TestKubectl(t *testing.T) {
	w := start(t)
	const ns = "by-kubectl"
	repo := sourcetest.New(t)
	repo.Commit(under("apps", objects(ns, many)))
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps/namespace.yaml")
	w.kubectl(t, "apply", "-f", repo.Dir+"/apps")
	before, managers, writes := w.states(t, ns), w.managers(t, ns), w.writes(t)
	args := []string{"adopt", "kubectl", "shop", "-A", "-l", "!nothing", "--cluster", cluster, "--git", repo.URL(), "--path", "apps"}

	plan := w.does(t, append(args, "--dry-run")...)
	if want := "1000 objects stay as they are\n"; !strings.Contains(plan.Out, want) {
		t.Fatalf("the plan has no %q:\n%s", want, plan.Out)
	}
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{})

	begun := time.Now()
	done := w.does(t, append(args, "--yes")...)
	in := time.Since(begun)
	if want := "package/shop: 1000 objects taken over on cluster prod-eu\n"; done.Out != want {
		t.Errorf("it said %q\n%s", done.Out, done.Err)
	}
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"APPLY": many, "PATCH": many})
	if labels, notes := w.labelled(t, ns); labels != many || notes != many {
		t.Errorf("%d have the label, %d notes", labels, notes)
	}
	if diff := cmp.Diff(map[string]int{"umbel-agent Apply": many, "umbel-agent-notes Update": many}, w.managers(t, ns)); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}

	writes = w.writes(t)
	begun = time.Now()
	w.does(t, "adopt", "back", "shop", "--cluster", cluster, "--yes")
	t.Logf("%d objects: %s in, %s out", many, in, time.Since(begun))
	w.theSame(t, ns, before)
	w.wrote(t, writes, map[string]int{"PATCH": 2 * many})
	if labels, notes := w.labelled(t, ns); labels+notes != 0 {
		t.Errorf("%d have the label still, %d notes", labels, notes)
	}
	if diff := cmp.Diff(managers, w.managers(t, ns)); diff != "" {
		t.Errorf("managers (-want +got):\n%s", diff)
	}
}
