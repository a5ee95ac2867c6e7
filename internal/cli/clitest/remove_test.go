package clitest_test

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
)

// removePage returns the commands of docs/operate/remove-everything.md, without what they say of themselves.
func removePage(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/operate/remove-everything.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i, block := range strings.Split(string(page), "```") {
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(line, "  #")
			if line = strings.TrimSpace(line); i%2 == 1 && line != "" {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// TestTheFleetIsRemovedAsThePageSays runs the page's own commands on a fleet, with every name that it lists, and finds no
// cluster left.
func TestTheFleetIsRemovedAsThePageSays(t *testing.T) {
	f := newFleet(t)
	f.openDoor(t, "127.0.0.1:7443", "PEM")
	t.Setenv("KUBECONFIG", t.TempDir()+"/config")
	lines := removePage(t)
	index := func(part string) int {
		return slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, part) })
	}
	scopes, leaving, packages := index("delete scopes.umbel.dev --all"), index("umbel leave"), index("delete packages.umbel.dev")
	if scopes < 0 || leaving < scopes || packages < leaving {
		t.Fatalf("Scopes go first, then clusters, then Packages: got lines %d, %d and %d", scopes, leaving, packages)
	}
	f.everyoneIsBack(t)
	var names []string
	for _, line := range lines {
		args, ours := strings.CutPrefix(line, "umbel ")
		if !ours {
			continue
		}
		runs := []string{args}
		if kind, _, each := strings.Cut(args, "/NAME"); each {
			runs = nil
			for _, name := range names {
				_, bare, _ := strings.Cut(name, "/")
				runs = append(runs, kind+"/"+bare)
			}
		}
		for _, run := range runs {
			got := f.run(t.Context(), strings.Fields(run)...)
			if got.Code != 0 {
				t.Errorf("umbel %s: got %+v", run, got)
			}
			if strings.HasPrefix(args, "get clusters") {
				names = strings.Fields(got.Out)
			}
		}
	}
	var left v1alpha1.MemberClusterList
	if err := f.api.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	if len(names) != 4 || len(left.Items) != 0 {
		t.Errorf("of clusters %q, %d are left", names, len(left.Items))
	}
}

// everyoneIsBack has every cluster connected.
func (f *fleet) everyoneIsBack(t *testing.T) {
	t.Helper()
	var members v1alpha1.MemberClusterList
	if err := f.api.List(t.Context(), &members); err != nil {
		t.Fatal(err)
	}
	for _, member := range members.Items {
		meta.SetStatusCondition(&member.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered,
		})
		if err := f.api.Status().Update(t.Context(), &member); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoKindIsForgottenWhenAllIsRemoved: the page names each object of the whole cluster that a hub installs.
func TestNoKindIsForgottenWhenAllIsRemoved(t *testing.T) {
	page := strings.Fields(strings.Join(removePage(t), " "))
	seen := 0
	for _, files := range []fs.FS{deploy.CRDs, deploy.Multicluster, deploy.Policies} {
		err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.Contains(path, "clusterproperties") { // a member's, which nobody installs
				return err
			}
			raw, err := fs.ReadFile(files, path)
			if err != nil {
				return err
			}
			for document := range strings.SplitSeq(string(raw), "\n---\n") {
				var object struct{ Metadata struct{ Name string } }
				if err := yaml.Unmarshal([]byte(document), &object); err != nil {
					return err
				}
				seen++
				if !slices.Contains(page, object.Metadata.Name) {
					t.Errorf("the page does not remove %s (%s)", object.Metadata.Name, path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 9 {
		t.Errorf("looked at %d objects", seen)
	}
}
