package real

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

const data = "../data"

// opened notes which files are read.
type opened struct {
	fs.FS
	names map[string]bool
}

func (o opened) Open(name string) (fs.File, error) {
	o.names[name] = true
	return o.FS.Open(name)
}

// TestEveryFileIsRenderedOrHasAReason: whatever lies in test/data is part of a Package that renders, or is refused by rule,
// or belongs to none for a reason that is written down.
func TestEveryFileIsRenderedOrHasAReason(t *testing.T) {
	files := opened{FS: os.DirFS(data), names: map[string]bool{}}
	for _, p := range Packages {
		entries, err := Render(files, p)
		switch {
		case p.Refused == "" && err != nil:
			t.Errorf("%s: %v", p.Name, err)
		case p.Refused != "" && (err == nil || !strings.Contains(err.Error(), p.Refused)):
			t.Errorf("%s: %d objects, %v; want an error with %q", p.Name, len(entries), err, p.Refused)
		}
	}
	reasons := map[string]bool{}
	err := fs.WalkDir(files.FS, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".yaml") || files.names[name] {
			return err
		}
		for elsewhere := range Elsewhere {
			if name == elsewhere || strings.HasPrefix(name, elsewhere+"/") {
				reasons[elsewhere] = true
				return nil
			}
		}
		t.Errorf("%s is part of no Package", name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(reasons) != len(Elsewhere) {
		t.Errorf("%d of %d reasons are of use: %v", len(reasons), len(Elsewhere), reasons)
	}
}

// TestAllOfIt applies everything to a real API server, twice, drifts all of it, drops half of it by a commit, and takes it away again.
func TestAllOfIt(t *testing.T) {
	m := newMember(t)
	files := os.DirFS(data)
	manners, prunes := map[string]int{}, 0
	for _, p := range Packages {
		if p.Refused != "" {
			continue
		}
		m.about = p.Name
		entries, err := Render(files, p)
		if err != nil {
			t.Fatalf("%s: %v", p.Name, err)
		}
		digest, blob := m.keep(entries)
		m.prepare(entries)
		key := "default/" + p.Name

		m.holds(key, "one", digest, 0)
		all := m.objects(blob)
		before, writes := m.states(all), m.writes.Load()
		m.holds(key, "two", digest, 0)
		for id, state := range m.states(all) {
			if state.GetResourceVersion() != before[id].GetResourceVersion() {
				t.Errorf("%s: %s was written by a sync that changes nothing", p.Name, id)
			}
		}
		if more := m.writes.Load() - writes; more != 0 {
			t.Errorf("%s: a sync that changes nothing sent %d writes", p.Name, more)
		}
		drift := m.drift(all)
		m.isBack(all, before, drift)
		kept, dropped := m.thin(entries)
		less, _ := m.keep(kept)
		before = m.states(all)
		m.holds(key, "three", less, len(dropped))
		m.pruned(all, dropped, before)
		prunes += len(dropped)
		m.letsGo(key, all)
		for _, o := range all {
			manners[drift[o.ID]]++
			if drift[o.ID] == unlabeled && len(leaves(o.given)) > 0 {
				t.Errorf("%s: of %s nothing that the release says could be changed", p.Name, o.ID)
			}
		}
	}
	t.Logf("%d Packages; objects by how they drifted: %v; %d were pruned by a commit that drops them", len(Packages), manners, prunes)
	if prunes < 100 {
		t.Errorf("%d objects were pruned by a commit that drops them, want a hundred at least", prunes)
	}
	if manners[deleted] < 100 || manners[changed] < 100 {
		t.Errorf("objects by how they drifted: %v, want a hundred at least of either", manners)
	}
}
