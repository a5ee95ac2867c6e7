package clitest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
)

// holdsBack has a cluster say that it holds deletes back.
func (f *fleet) holdsBack(t *testing.T, cluster string, held *v1alpha1.MemberDeletesHeld) {
	t.Helper()
	f.changeStatus(t, cluster, func(status *v1alpha1.MemberClusterStatus) {
		status.Packages[0].Phase, status.Packages[0].Failures, status.Packages[0].DeletesHeld = v1alpha1.PackageApplied, nil, held
	})
}

func (f *fleet) changeStatus(t *testing.T, cluster string, change func(*v1alpha1.MemberClusterStatus)) {
	t.Helper()
	member := &v1alpha1.MemberCluster{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: cluster}, member); err != nil {
		t.Fatal(err)
	}
	change(&member.Status)
	if err := f.api.Status().Update(t.Context(), member); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) shop(t *testing.T) *v1alpha1.Package {
	t.Helper()
	pkg := &v1alpha1.Package{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop"}, pkg); err != nil {
		t.Fatal(err)
	}
	return pkg
}

func TestApproveDeletes(t *testing.T) {
	f := newFleet(t)
	expect := func(args string, want said) {
		t.Helper()
		if diff := cmp.Diff(want, f.run(t.Context(), strings.Fields(args)...)); diff != "" {
			t.Errorf("umbel %s (-want +got):\n%s", args, diff)
		}
	}
	expect("approve deletes shop", said{Err: "package/shop has no deletes that wait for a word\n"})
	expect("approve deletes shop --release shop-other", said{Err: "error: no cluster holds back deletes of release \"shop-other\": `umbel describe package` shows what waits\n", Code: 1})
	expect("approve deletes shop --cluster nope", said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1})
	expect("approve deletes", said{Err: "error: PACKAGE is missing: `umbel approve deletes --help` shows examples\n", Code: 2})

	f.holdsBack(t, "prod-eu", &v1alpha1.MemberDeletesHeld{Objects: 45, Holds: 100, Allowed: 10, Protected: 1, Names: []string{"Namespace old", "Deployment.apps shop/web"}})
	f.holdsBack(t, "dev", &v1alpha1.MemberDeletesHeld{Objects: 12, Holds: 40, Allowed: 4, Names: []string{"ConfigMap shop/a"}})
	asked := f.run(t.Context(), "approve", "deletes", "shop")
	clitest.Golden(t, "approve-deletes.txt", asked.Err)
	if asked.Code != 1 || asked.Out != "" || f.shop(t).Spec.Deletes != nil {
		t.Errorf("it was not answered with yes: %+v", asked)
	}
	one := f.run(t.Context(), strings.Fields("approve deletes package/shop --cluster dev --yes")...)
	if want := "package/shop: deletes of release shop-1a2b3c4d approved on 1 cluster\n"; one.Out != want || one.Code != 0 {
		t.Errorf("got %+v, want %q", one, want)
	}
	all := f.run(t.Context(), strings.Fields("approve deletes shop --release shop-1a2b3c4d -y")...)
	if want := "package/shop: deletes of release shop-1a2b3c4d approved on 2 clusters\n"; all.Out != want || all.Code != 0 {
		t.Errorf("got %+v, want %q", all, want)
	}
	again := f.run(t.Context(), strings.Fields("approve deletes shop -y")...) // in the place of the one before
	at := metav1.NewMicroTime(f.now)
	want := []v1alpha1.DeleteApproval{
		{Release: clitest.Release, Objects: 12, Clusters: []v1alpha1.ClusterName{"dev"}, At: at},
		{Release: clitest.Release, Objects: 45, Protected: 1, At: at},
	}
	sameTime := cmp.Comparer(func(a, b metav1.MicroTime) bool { return a.Equal(&b) })
	if diff := cmp.Diff(want, f.shop(t).Spec.Deletes.Approved, sameTime); diff != "" || again.Code != 0 {
		t.Errorf("%+v, approved (-want +got):\n%s", again, diff)
	}
	clitest.Golden(t, "describe-held.txt", strings.Join(f.lines(t, "describe package shop", "Deletes that wait", "prod-eu ", "dev "), "\n")+"\n")
}

// lines are those of what a command says that begin with one of some words, below the first of them.
func (f *fleet) lines(t *testing.T, args, from string, words ...string) (found []string) {
	t.Helper()
	_, below, _ := strings.Cut(f.run(t.Context(), strings.Fields(args)...).Out, from)
	below, _, _ = strings.Cut(below, "\n\n")
	for line := range strings.Lines(below) {
		line = strings.TrimSpace(line)
		for _, word := range words {
			if strings.HasPrefix(line, word) {
				found = append(found, line)
			}
		}
	}
	return found
}

// TestApproveARemoval: clusters that a placement does not select any more keep the package until that is approved.
func TestApproveARemoval(t *testing.T) {
	f := newFleet(t)
	placement := &v1alpha1.Placement{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shops"}, placement); err != nil {
		t.Fatal(err)
	}
	placement.Status.Clusters, placement.Status.Selected = nil, 0
	if err := f.api.Status().Update(t.Context(), placement); err != nil {
		t.Fatal(err)
	}
	asked := f.run(t.Context(), "approve", "deletes", "shop")
	clitest.Golden(t, "approve-removal.txt", asked.Err)
	for _, args := range []string{"approve deletes shop --cluster dev -y", "approve deletes shop --cluster prod-us -y"} {
		if got := f.run(t.Context(), strings.Fields(args)...); got.Out != "package/shop: 1 cluster may lose it\n" || got.Code != 0 {
			t.Errorf("%s: %+v", args, got)
		}
	}
	removal := f.shop(t).Spec.Deletes.ApprovedRemoval
	if removal.Placement != "shops" || removal.Generation != placement.Generation {
		t.Errorf("it is for %s of generation %d", removal.Placement, removal.Generation)
	}
	if diff := cmp.Diff([]v1alpha1.ClusterName{"dev", "prod-us"}, removal.Clusters); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}

func TestUndo(t *testing.T) {
	f := newFleet(t)
	expect := func(args string, want said) {
		t.Helper()
		if diff := cmp.Diff(want, f.run(t.Context(), strings.Fields(args)...)); diff != "" {
			t.Errorf("umbel %s (-want +got):\n%s", args, diff)
		}
	}
	expect("undo --list", said{Err: "Nothing was deleted that the clusters know of\n"})
	expect("undo --list -o json", said{Out: "[]\n"})
	expect("undo", said{Err: "error: it takes the name of a package, or of a deletion as `umbel undo --list` shows it: `umbel undo --help` shows examples\n", Code: 2})
	expect("undo shop -o json", said{Err: "error: -o is for --list\n", Code: 2})
	expect("undo shop", said{Err: "error: no cluster says that it lost anything of \"shop\": `umbel undo --list` shows what was deleted; -n names the package's namespace\n", Code: 1})

	lost := func(id string, ago time.Duration, state v1alpha1.DeletionState, message string) v1alpha1.MemberDeletion {
		return v1alpha1.MemberDeletion{
			ID: id, Package: "default/shop", Release: clitest.Release, Cause: v1alpha1.DeletionApproved, Time: metav1.NewTime(f.now.Add(-ago)),
			Objects: 45, Names: []string{"Deployment.apps shop/web", "Service shop/web"}, State: state, Message: message,
		}
	}
	f.changeStatus(t, "prod-eu", func(s *v1alpha1.MemberClusterStatus) {
		s.Deletions = []v1alpha1.MemberDeletion{lost("3f9a2c1b", time.Minute, v1alpha1.DeletionKept, ""), lost("00000001", time.Hour, v1alpha1.DeletionKept, "")}
	})
	f.changeStatus(t, "dev", func(s *v1alpha1.MemberClusterStatus) {
		s.Deletions = []v1alpha1.MemberDeletion{lost("77777777", 2*time.Minute, v1alpha1.DeletionUndone, "45 are back")}
	})
	clitest.Golden(t, "undo-list.txt", f.run(t.Context(), "undo", "--list").Out)
	clitest.Golden(t, "undo-list-wide.txt", f.run(t.Context(), "undo", "--list", "-o", "wide").Out)
	expect("undo --list -o name --cluster dev", said{Out: "77777777\n"})
	expect("undo --list nothing", said{Err: "Nothing was deleted that the clusters know of\n"})
	expect("undo 77777777", said{Err: "error: deletion 77777777 on dev was undone already: 45 are back; an older one has to be named\n", Code: 1})

	asked := f.run(t.Context(), "undo", "shop")
	if asked.Code != 1 || !strings.Contains(asked.Err, "3f9a2c1b") || strings.Contains(asked.Err, "00000001") || len(f.asked(t)) > 0 {
		t.Errorf("asked and not answered: %+v", asked)
	}
	const hint = "`umbel undo --list` shows how far it is\n"
	done := f.run(t.Context(), strings.Fields("undo shop --yes")...)
	if done.Code != 0 || done.Out != "cluster/prod-eu: deletion 3f9a2c1b is to be undone: 45 objects\n" || !strings.HasSuffix(done.Err, hint) {
		t.Errorf("got %+v", done)
	}
	expect("undo 3f9a2c1b", said{Err: "error: deletion 3f9a2c1b on prod-eu is being undone already: `umbel undo --list -o wide` shows what it waits for\n", Code: 1})
	older := f.run(t.Context(), strings.Fields("undo 00000001 -y")...)
	if diff := cmp.Diff([]string{"3f9a2c1b", "00000001"}, f.asked(t)); diff != "" || older.Code != 0 {
		t.Errorf("%+v, asked (-want +got):\n%s", older, diff)
	}
	// What is done makes room.
	f.changeStatus(t, "prod-eu", func(s *v1alpha1.MemberClusterStatus) {
		s.Deletions[0].State, s.Deletions[0].Message = v1alpha1.DeletionUndone, "45 are back"
		s.Deletions = append(s.Deletions, lost("00000002", 2*time.Hour, v1alpha1.DeletionKept, ""))
	})
	if got := f.run(t.Context(), strings.Fields("undo 00000002 -y")...); got.Code != 0 {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]string{"00000001", "00000002"}, f.asked(t)); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// asked are the deletions of prod-eu that are to be undone.
func (f *fleet) asked(t *testing.T) []string {
	t.Helper()
	member := &v1alpha1.MemberCluster{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "prod-eu"}, member); err != nil {
		t.Fatal(fmt.Errorf("reading prod-eu: %w", err))
	}
	return member.Spec.Undo
}
