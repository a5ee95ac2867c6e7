package adopt

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/delivery/source/sourcetest"
)

// section are the commands below a heading of the page, in their order.
func section(t *testing.T, heading string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operate/moving-in.md")
	if err != nil {
		t.Fatal(err)
	}
	_, below, found := strings.Cut(string(page), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the page has no %q", heading)
	}
	below, _, _ = strings.Cut(below, "\n## ")
	var commands []string
	for i, block := range strings.Split(below, "```") {
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); i%2 == 1 && line != "" {
				commands = append(commands, line)
			}
		}
	}
	if len(commands) == 0 {
		t.Fatalf("below %q there is no command", heading)
	}
	return commands
}

// runs runs the commands below a heading, each of which has to be one of umbel's and to succeed.
func (w *world) runs(t *testing.T, heading string, here *strings.Replacer) {
	t.Helper()
	for _, line := range section(t, heading) {
		args, ours := strings.CutPrefix(line, "umbel ")
		if !ours {
			t.Fatalf("%q is no command of umbel", line)
		}
		w.does(t, strings.Fields(here.Replace(args))...)
	}
}

// TestThePageOfKubectl runs every command of the page that is about kubectl, and those for hubs that are kept in Git.
func TestThePageOfKubectl(t *testing.T) {
	w := start(t)
	const ns, few = "page-kubectl", 30
	repo := sourcetest.New(t)
	files := objects(ns, few)
	repo.Commit(under("shop", files))
	w.kubectl(t, "apply", "-f", repo.Dir+"/shop/namespace.yaml")
	w.kubectl(t, "apply", "-f", repo.Dir+"/shop")
	before := w.states(t, ns)
	written := t.TempDir()
	here := strings.NewReplacer("-n shop", "-n "+ns, "prod-eu", cluster, "https://git.example.com/fleet.git", repo.URL(), "fleet/shop", written)
	w.runs(t, "From kubectl apply", here)
	w.theSame(t, ns, before)
	if labels, notes := w.labelled(t, ns); labels+notes != 0 {
		t.Errorf("%d have the label still, %d notes", labels, notes)
	}
	if got, err := os.ReadDir(written + "/" + ns); err != nil || len(got) != few-1 {
		t.Errorf("%d manifests were written, %v", len(got), err)
	}
	w.runs(t, "For hubs that are kept in Git", here)
	w.theSame(t, ns, before)
}

// TestThePageOfTheOthers runs every command of the page that is about the others.
func TestThePageOfTheOthers(t *testing.T) {
	w := start(t)
	const few = 24
	here := strings.NewReplacer("prod-eu", cluster)
	for heading, makes := range map[string]func(ns string){
		"From a Kustomization of Flux":                 func(ns string) { w.byFlux(t, ns, "shop", few) },
		"From an Application of Argo CD":               func(ns string) { w.byArgoCD(t, ns, "shop", few) },
		"From a RootSync or a RepoSync of Config Sync": func(ns string) { w.byConfigSync(t, ns, "shop", few) },
		"From a GitRepo of Fleet":                      func(ns string) { w.byFleet(t, ns, "shop", few) },
	} {
		words := strings.Fields(strings.ToLower(heading))
		ns := "page-" + words[len(words)-1]
		makes(ns)
		before, managers := w.states(t, ns), w.managers(t, ns)
		w.runs(t, heading, here)
		w.theSame(t, ns, before)
		if diff := cmp.Diff(managers, w.managers(t, ns)); diff != "" {
			t.Errorf("%s: managers (-want +got):\n%s", heading, diff)
		}
	}
}
