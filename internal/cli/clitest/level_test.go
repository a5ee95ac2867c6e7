package clitest_test

import (
	"strings"
	"testing"

	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

func TestLevel(t *testing.T) {
	f := newFleet(t)
	member := func() *v1alpha1.MemberCluster {
		m := &v1alpha1.MemberCluster{}
		if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "dev"}, m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	run := func(reason, args string, want said, level v1alpha1.Level) {
		t.Helper()
		if got := f.run(t.Context(), strings.Fields(args)...); got != want {
			t.Errorf("%s: got %+v, want %+v", reason, got, want)
		}
		if got := member().Spec.Stands(); got != level {
			t.Errorf("%s: it is %s", reason, got)
		}
	}
	run("an agent of before would go on writing", "level dev observed",
		said{Err: "error: the agent of cluster \"dev\" does not know levels, and would go on writing there: `umbel upgrade agents` brings it to the hub's version\n", Code: 1}, v1alpha1.LevelAttached)
	m := member()
	m.Status.AgentFeatures = wire.Features()
	if err := f.api.Status().Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	run("observed", "level dev observed", said{Out: "cluster/dev is observed\n"}, v1alpha1.LevelObserved)
	run("the same again", "level cluster/dev Observed", said{Out: "cluster/dev is observed already\n"}, v1alpha1.LevelObserved)
	if got := f.run(t.Context(), "get", "clusters"); !strings.Contains(got.Out, "observed") {
		t.Errorf("the list does not show it: %s", got.Out)
	}
	if got := f.run(t.Context(), "leave", "dev", "--prune"); got.Code != 1 || !strings.Contains(got.Err, "nothing is deleted there") {
		t.Errorf("what it holds would be deleted: %+v", got)
	}
	run("attached", "level dev attached",
		said{Out: "cluster/dev is attached\n", Err: "where the agent was installed to observe, `umbel join dev --kubeconfig FILE` gives it the rights to write\n"}, v1alpha1.LevelAttached)
	run("there is no such level", "level dev managed",
		said{Err: "error: a level is observed or attached, not \"managed\" (managed are the clusters that the hub makes)\n", Code: 2}, v1alpha1.LevelAttached)
	run("no level", "level dev", said{Err: "error: LEVEL is missing: `umbel level --help` shows examples\n", Code: 2}, v1alpha1.LevelAttached)
}
