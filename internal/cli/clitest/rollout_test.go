package clitest_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
)

// rolls makes the rollouts of the package shop: one that is complete, and one that is in its second stage.
func (f *fleet) rolls(t *testing.T) {
	t.Helper()
	var pkg v1alpha1.Package
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop"}, &pkg); err != nil {
		t.Fatal(err)
	}
	for _, r := range clitest.Rollouts(f.now) {
		r.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&pkg, v1alpha1.GroupVersion.WithKind("Package"))}
		f.create(t, &r)
	}
}

// becomes writes the status of a rollout, as the hub does.
func (f *fleet) becomes(t *testing.T, name string, change func(*v1alpha1.RolloutStatus)) {
	t.Helper()
	var r v1alpha1.Rollout
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: name}, &r); err != nil {
		t.Fatal(err)
	}
	change(&r.Status)
	if err := f.api.Status().Update(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
}

func TestRolloutStory(t *testing.T) {
	f := newFleet(t)
	f.says(t, "rollout status shop", said{Err: "error: package shop has no rollout: its clusters get a release all at once, for spec.rollout has no strategy\n", Code: 1})
	f.rolls(t)
	f.golden(t, "rollout-status.txt", "rollout status shop")
	f.golden(t, "rollout-status-wide.txt", "rollout status package/shop -o wide")
	f.golden(t, "rollout-history.txt", "rollout history shop")
	f.golden(t, "rollout-history-wide.txt", "rollout history shop -o wide")
	f.says(t, "rollout history shop -o name", said{Out: "rollout/shop-2\nrollout/shop-1\n"})
	if got := f.run(t.Context(), strings.Fields("rollout status shop -o json")...); !strings.Contains(got.Out, `"kind": "Rollout"`) || strings.Contains(got.Out, "managedFields") {
		t.Errorf("as JSON: %+v", got)
	}

	f.says(t, "rollout approve shop", said{Out: "rollout/shop-2 approved: before stage prod\n"})
	f.says(t, "rollout approve shop --stage prod --point Before", said{Out: "rollout/shop-2: nothing to change\n"})
	f.says(t, "rollout approve shop", said{Out: "rollout/shop-2 approved: after stage prod\n"})
	f.says(t, "rollout approve shop", said{Out: "rollout/shop-2: nothing to change\n"}) // nothing waits for more
	f.says(t, "rollout pause shop", said{Out: "rollout/shop-2 paused\n"})
	f.says(t, "rollout pause shop", said{Out: "rollout/shop-2: nothing to change\n"})
	f.says(t, "rollout resume shop --excuse", said{Out: "rollout/shop-2 resumed\n"})
	f.says(t, "rollout resume shop", said{Out: "rollout/shop-2: nothing to change\n"})
	f.says(t, "rollout promote shop", said{Out: "rollout/shop-2 promoted: prod\n"})
	f.says(t, "rollout promote shop --all", said{Out: "rollout/shop-2: nothing to change\n"})
	f.says(t, "rollout back shop --to nope", said{Code: 2, Err: "error: --to: package shop has no release \"nope\": `umbel get releases -n default` shows those that are kept\n"})
	f.says(t, "rollout back shop", said{Out: "rollout/shop-2 goes back to shop-00112233\n"})
	f.says(t, "rollout abort shop", said{Out: "rollout/shop-2 aborted\n"})
	var r v1alpha1.Rollout
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop-2"}, &r); err != nil {
		t.Fatal(err)
	}
	if s := r.Spec; s.Intent != v1alpha1.IntentAbort || len(s.Approvals) != 2 || len(s.Excused) != 1 || s.Excused[0] != "prod-eu" || len(s.Promoted) != 1 {
		t.Errorf("got %+v", s)
	}
	f.becomes(t, "shop-2", func(s *v1alpha1.RolloutStatus) { s.Phase = v1alpha1.RolloutAborted })
	f.says(t, "rollout resume shop", said{Out: "rollout/shop-2 resumed\n"})
}

// TestRolloutWatched: a line with each change, until it is complete or stops for somebody.
func TestRolloutWatched(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	lines, done := f.follow(t.Context(), "rollout", "status", "shop", "--watch")
	for line := range lines {
		if strings.Contains(line, "prod-us") { // the last line of the picture
			break
		}
	}
	f.becomes(t, "shop-2", func(s *v1alpha1.RolloutStatus) {
		s.Phase, s.Conditions[0].Message = v1alpha1.RolloutHalted, "halted, since prod-eu failed"
	})
	if got := <-lines; !strings.HasSuffix(got, "shop-2 Halted: 2/3 moved, 1 healthy: halted, since prod-eu failed") {
		t.Errorf("got %q", got)
	}
	if err := <-done; err == nil || err.Error() != "halted, since prod-eu failed" {
		t.Errorf("one that stopped: %v", err)
	}
	f.becomes(t, "shop-2", func(s *v1alpha1.RolloutStatus) {
		s.Phase, s.Failures, s.Conditions[0].Message = v1alpha1.RolloutCompleted, nil, "every cluster has it"
	})
	if got := f.run(t.Context(), "rollout", "status", "shop", "-w"); got.Code != 0 || !strings.Contains(got.Out, "Completed: every cluster has it") {
		t.Errorf("one that is complete: %+v", got)
	}
}

func TestRolloutMisused(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	for args, want := range map[string]string{
		"rollout status":                         "error: ",
		"rollout status cluster/dev":             "error: cluster/dev is a cluster: name a package\n",
		"rollout status shop -w -o json":         "error: -o json shows one state: leave --watch out; kubectl watches Rollouts on the hub's API: `kubectl get rollouts.umbel.dev -n default --watch -o json`\n",
		"rollout status shop -o name":            "\"name\" is not one of json, yaml, wide",
		"rollout approve shop --stage moon":      "error: --stage: shop-2 has no stage \"moon\": its stages are dev, prod\n",
		"rollout approve shop --point During":    "error: --point is Before or After, not \"During\"\n",
		"rollout promote shop --stage moon":      "error: --stage: shop-2 has no stage \"moon\"\n",
		"rollout promote shop --stage dev --all": "error: --stage names one",
	} {
		if got := f.run(t.Context(), strings.Fields(args)...); got.Code != 2 || !strings.Contains(got.Err, want) {
			t.Errorf("umbel %s: got %+v, want %q and code 2", args, got, want)
		}
	}
	if got := f.run(t.Context(), "rollout", "status", "nothing"); got.Code != 1 || !strings.Contains(got.Err, "nothing") {
		t.Errorf("no such package: %+v", got)
	}
}

// TestApproveWhatDoesNotWait: nothing was approved, and that is said with how to do it ahead of time.
func TestApproveWhatDoesNotWait(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	f.becomes(t, "shop-2", func(s *v1alpha1.RolloutStatus) { s.Stages[0].Step = v1alpha1.StageMoving })
	f.says(t, "rollout approve shop", said{Code: 1, Err: "error: stage dev of shop-2 waits for no approval; `--stage prod --point Before` approves ahead of time\n"})
	f.says(t, "rollout approve shop --stage prod --point Before", said{Out: "rollout/shop-2 approved: before stage prod\n"})
}

// TestApproveAWayBack: it waits for nobody, and the approval would be lost on it.
func TestApproveAWayBack(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	var back v1alpha1.Rollout
	if err := f.api.Get(t.Context(), kube.ObjectKey{Namespace: "default", Name: "shop-2"}, &back); err != nil {
		t.Fatal(err)
	}
	back.ObjectMeta = metav1.ObjectMeta{Namespace: "default", Name: "shop-3", Labels: back.Labels, OwnerReferences: back.OwnerReferences}
	back.Spec.Number, back.Spec.Purpose, back.Spec.Release = 3, v1alpha1.RolloutBack, back.Spec.Previous
	f.create(t, &back)
	f.says(t, "rollout approve shop --stage prod --point Before", said{Code: 1, Err: "error: shop-3 brings the clusters back to " + back.Spec.Release +
		", and waits for no approval: the next release begins a rollout that does\n"})
}

// TestDecideAboutARolloutThatWasJustMade: it has stages from the first moment, although it has not said so yet.
func TestDecideAboutARolloutThatWasJustMade(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	f.becomes(t, "shop-2", func(s *v1alpha1.RolloutStatus) { s.Stages = nil })
	f.says(t, "rollout approve shop", said{Code: 1, Err: "error: shop-2 has just been made, and is at no stage yet: try again in a moment, or name one with --stage\n"})
	f.says(t, "rollout approve shop --stage prod --point Before", said{Out: "rollout/shop-2 approved: before stage prod\n"})
	f.says(t, "rollout promote shop --stage prod", said{Out: "rollout/shop-2 promoted: prod\n"})
	f.says(t, "rollout approve shop --stage moon", said{Code: 2, Err: "error: --stage: shop-2 has no stage \"moon\": its stages are dev, prod\n"})
}
