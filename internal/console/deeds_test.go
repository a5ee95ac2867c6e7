package console

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/word"
)

// TestDeeds: each deed of rollouts, packages and clusters is what its command says, its patch is taken by the API, and kubectl's twin changes the same.
func TestDeeds(t *testing.T) {
	h := newHub(t, nil)
	ada := h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	s := &session{User: "system:serviceaccount:default:ada"}
	named := metav1.ObjectMeta{Namespace: "default", Name: "shop-2"}
	made := func(object client.Object) {
		t.Helper()
		if err := h.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}

	rollout := &v1alpha1.Rollout{ObjectMeta: named, Spec: v1alpha1.RolloutSpec{
		PackageRef: v1alpha1.LocalReference{Name: "shop"}, Number: 2, Release: "shop-b", Previous: "shop-a", Newest: "shop-b",
		Strategy: v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{{Name: "first", Approvals: []v1alpha1.ApprovalPoint{v1alpha1.ApproveBefore}}}},
	}}
	made(rollout)
	t.Cleanup(func() {
		if err := h.client.DeleteAllOf(context.WithoutCancel(t.Context()), &v1alpha1.Rollout{}, client.InNamespace("default")); err != nil {
			t.Error(err)
		}
	})
	rollout.Status.Phase, rollout.Status.Stages = v1alpha1.RolloutRunning, []v1alpha1.StageStatus{{Name: "first"}}
	halted := rollout.DeepCopy()
	halted.Status.Phase = v1alpha1.RolloutHalted

	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}}
	pkg.Spec.PlacementRef.Name = "nowhere"
	pkg.Spec.Source.OCI = &v1alpha1.OCISource{URL: "oci://registry.example.com/shop"}
	made(pkg)

	member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}
	made(member)
	suspended, newcomer := member.DeepCopy(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "new"}}
	if err := word.Suspend(suspended); err != nil {
		t.Fatal(err)
	}
	suspended.Spec.Level = v1alpha1.LevelObserved
	suspended.Name, suspended.ResourceVersion, suspended.UID = "away", "", ""
	made(suspended)
	newcomer.Spec.Admission = v1alpha1.AdmissionPending
	made(newcomer)

	cluster := func(m *v1alpha1.MemberCluster) func() ([]Deed, error) {
		return func() ([]Deed, error) {
			if err := h.client.Get(t.Context(), client.ObjectKeyFromObject(m), m); err != nil {
				return nil, err
			}
			return h.console.clusterDeeds(t.Context(), s, m)
		}
	}
	for _, c := range []struct {
		reason string
		deeds  func() ([]Deed, error)
		want   map[string]string // umbel's twin by the name of the deed
	}{
		{"a rollout that waits", func() ([]Deed, error) { return h.console.rolloutDeeds(t.Context(), s, rollout) }, map[string]string{
			"approve": "umbel rollout approve shop", "pause": "umbel rollout pause shop", "promote": "umbel rollout promote shop",
			"back": "umbel rollout back shop", "abort": "umbel rollout abort shop",
		}},
		{"a rollout that stopped", func() ([]Deed, error) { return h.console.rolloutDeeds(t.Context(), s, halted) }, map[string]string{
			"approve": "umbel rollout approve shop", "pause": "umbel rollout pause shop", "promote": "umbel rollout promote shop",
			"resume": "umbel rollout resume shop", "back": "umbel rollout back shop", "abort": "umbel rollout abort shop",
		}},
		{"a package", func() ([]Deed, error) { return h.console.packageDeeds(t.Context(), s, pkg) }, map[string]string{"refresh": "umbel refresh package shop"}},
		{"a cluster", cluster(member), map[string]string{
			"suspend": "umbel suspend edge", "observe": "umbel level edge observed",
		}},
		{"a cluster that is kept out", cluster(suspended), map[string]string{
			"resume": "umbel resume away", "attach": "umbel level away attached",
		}},
		{"a cluster that wants to come", cluster(newcomer), map[string]string{
			"approve": "umbel approve new", "deny": "umbel deny new",
		}},
	} {
		deeds, err := c.deeds()
		if err != nil {
			t.Fatalf("%s: %v", c.reason, err)
		}
		twins := map[string]string{}
		for _, d := range deeds {
			twins[d.Name] = d.Umbel
			if d.Title == "" || d.Means == "" || d.Done == "" || d.Not != "" {
				t.Errorf("%s, %s: says too little: %+v", c.reason, d.Name, d)
			}
			// The API looks at it as if it were done, so that the next one finds the object as it is.
			ada.want(c.reason+", "+d.Name, ada.does(d, "?dryRun=All"), http.StatusOK, `"kind"`)
			is := strings.Split(strings.TrimPrefix(d.Path, "/apis/umbel.dev/v1alpha1/"), "/") // [namespaces NAMESPACE] RESOURCE NAME
			begins := "kubectl patch " + is[len(is)-2] + ".umbel.dev " + is[len(is)-1]
			if len(is) > 2 {
				begins += " -n " + is[1]
			}
			plain, ok := strings.CutPrefix(d.Kubectl, begins+" --type merge -p '")
			if !ok || !strings.HasSuffix(plain, "'") {
				t.Errorf("%s, %s: kubectl's twin is %q", c.reason, d.Name, d.Kubectl)
				continue
			}
			if diff := cmp.Diff(changes(t, d.Patch), changes(t, strings.TrimSuffix(plain, "'"))); diff != "" {
				t.Errorf("%s, %s: kubectl's twin changes something else (-page +kubectl):\n%s", c.reason, d.Name, diff)
			}
		}
		if diff := cmp.Diff(c.want, twins); diff != "" {
			t.Errorf("%s: umbel's twins (-want +got):\n%s", c.reason, diff)
		}
	}
}

// changes is what a patch changes, without the version of the object that it is for.
func changes(t *testing.T, patch string) map[string]any {
	t.Helper()
	var of map[string]any
	if err := json.Unmarshal([]byte(patch), &of); err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	if meta, ok := of["metadata"].(map[string]any); ok {
		if delete(meta, "resourceVersion"); len(meta) == 0 {
			delete(of, "metadata")
		}
	}
	if len(of) == 0 {
		t.Errorf("%s changes nothing", patch)
	}
	return of
}
