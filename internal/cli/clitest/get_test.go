package clitest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
)

func TestGet(t *testing.T) {
	f := newFleet(t)
	cases := []struct {
		reason string
		args   string
		want   said
	}{
		{
			reason: "all clusters", args: "get clusters",
			want: said{Out: "" +
				"NAME      READY     CONNECTED          KUBERNETES   PACKAGES   LEVEL      AGE\n" +
				"dev       False     True               v1.36.3      0/1        attached   15m\n" +
				"edge      False     False              -            0/0        attached   15m\n" +
				"prod-eu   True      True               v1.36.3      1/1        attached   15m\n" +
				"prod-us   Unknown   Unknown (4m ago)   v1.36.3      1/1        attached   15m\n"},
		},
		{
			reason: "by selector, for a script", args: "get mc -l env=prod -o name",
			want: said{Out: "membercluster.umbel.dev/prod-eu\nmembercluster.umbel.dev/prod-us\n"},
		},
		{
			reason: "what exists is shown beside what does not", args: "get clusters edge nope --no-headers",
			want: said{
				Out:  "edge   False   False   -   0/0   attached   15m\n",
				Err:  "error: there is no cluster \"nope\": `umbel get clusters` lists them\n",
				Code: 1,
			},
		},
		{
			reason: "packages of every namespace", args: "get packages -A",
			want: said{Out: "" +
				"NAMESPACE   NAME     READY   CLUSTERS   REVISION       AGE\n" +
				"default     shop     False   1/3        4f0c2a9e7b1d   15m\n" +
				"team-a      broken   False   -          -              15m\n"},
		},
		{
			reason: "placements", args: "get pl",
			want: said{Out: "NAME    READY   SELECTED   AGE\nshops   True    3          15m\n"},
		},
		{
			reason: "releases", args: "get releases --no-headers",
			want: said{Out: "shop-1a2b3c4d   shop   4f0c2a9e7b1d   3-4   2   15m\n"},
		},
		{
			reason: "nothing there is no error", args: "get packages -n elsewhere",
			want: said{Err: "No resources found in elsewhere namespace.\n"},
		},
		{
			reason: "nothing there, as a list", args: "get packages -n elsewhere -o yaml",
			want: said{Out: "apiVersion: v1\nitems: []\nkind: List\nmetadata:\n  resourceVersion: \"\"\n"},
		},
		{
			reason: "a name that does not exist", args: "get package shop -n team-a",
			want: said{Err: "error: there is no package \"shop\" in namespace \"team-a\": `umbel get packages -A` lists all\n", Code: 1},
		},
		{
			reason: "a kind that does not exist", args: "get pakages",
			want: said{Err: "error: there is no kind \"pakages\": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp); to read it from clusters add --all-clusters or --clusters SELECTOR\n", Code: 2},
		},
		{
			reason: "a kind of clusters, without saying of which", args: "get pods -A",
			want: said{Err: "error: there is no kind \"pods\": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp); to read it from clusters add --all-clusters or --clusters SELECTOR\n", Code: 2},
		},
		{
			reason: "rollouts, where there are none", args: "get rollouts",
			want: said{Err: "No resources found in default namespace.\n"},
		},
		{
			reason: "a kind that another command shows", args: "get agentupgrades",
			want: said{Err: "error: there is no kind \"agentupgrades\": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp); `umbel upgrade status` shows the upgrade of the agents\n", Code: 2},
		},
		{
			reason: "a kind that kubectl reads", args: "get clusterprofiles.multicluster.x-k8s.io",
			want: said{Err: "error: there is no kind \"clusterprofiles.multicluster.x-k8s.io\": the kinds are clusters (mc), packages (pkg), placements (pl), releases (rel), rollouts (ro), plans, scopes (scp); kubectl reads ClusterProfiles from the hub's API: `kubectl get clusterprofiles -n umbel-system`\n", Code: 2},
		},
		{
			reason: "a format that does not exist", args: "get clusters -o xml",
			want: said{Err: "error: invalid argument \"xml\" for \"-o, --output\" flag: \"xml\" is not one of wide, json, yaml, name: `umbel get --help` lists the flags\n", Code: 2},
		},
		{
			reason: "a selector that cannot be read", args: "get clusters -l env=(prod)",
			want: said{Err: "error: the selector \"env=(prod)\" cannot be read: unable to parse requirement: found '(', expected: identifier\n", Code: 2},
		},
		{
			reason: "names and a selector", args: "get clusters dev -l env=dev",
			want: said{Err: "error: give names or a selector, not both\n", Code: 2},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, f.run(t.Context(), strings.Fields(c.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
}

// TestGetRolloutsAndPlans in every form that they have, and by selector.
func TestGetRolloutsAndPlans(t *testing.T) {
	f := newFleet(t)
	f.rolls(t)
	plan := clitest.Plan()
	plan.Labels = map[string]string{"ticket": "4711"}
	f.create(t, plan)
	for name, args := range map[string]string{
		"get-rollouts.txt": "get rollouts", "get-rollouts-wide.txt": "get ro -A -o wide", "get-plans.txt": "get plans", "get-plans-wide.txt": "get plan -A -o wide",
		"describe-rollout.txt": "describe rollout shop-2", "describe-plan.txt": "describe plan/" + plan.Name, "describe-plan-wide.txt": "describe plan -o wide " + plan.Name,
	} {
		f.golden(t, name, args)
	}
	f.says(t, "get rollouts shop-2 -o name", said{Out: "rollout.umbel.dev/shop-2\n"})
	f.says(t, "get plans -A -o name -l ticket=4711", said{Out: "plan.umbel.dev/" + plan.Name + "\n"})
	f.says(t, "get plans -l ticket=1", said{Err: "No resources found in default namespace.\n"})
	f.says(t, "get rollout shop-9", said{Code: 1, Err: "error: there is no rollout \"shop-9\" in namespace \"default\": `umbel get rollouts -A` lists all\n"})
	f.says(t, "describe plan nope", said{Code: 1, Err: "error: there is no plan \"nope\" in namespace \"default\": `umbel get plans -A` lists all\n"})
	var one v1alpha1.Plan
	read(t, f.run(t.Context(), "get", "plan", plan.Name, "-o", "json"), &one)
	if one.Kind != "Plan" || one.Spec.Summary != plan.Spec.Summary || one.ManagedFields != nil {
		t.Errorf("got %+v, want the Plan as the API has it, without managed fields", one)
	}
	var several struct{ Items []v1alpha1.Rollout }
	read(t, f.run(t.Context(), "get", "rollouts", "-o", "json"), &several)
	if len(several.Items) != 2 || several.Items[1].Spec.Release != clitest.Release {
		t.Errorf("got %+v, want both rollouts, the newest last", several.Items)
	}
	f.heard(t, 3*time.Minute)
	if got := f.run(t.Context(), "get", "rollouts", "--no-headers"); strings.Contains(got.Out, " Running ") || !strings.Contains(got.Out, "Unknown (was Running)") || !strings.Contains(got.Out, "Completed") {
		t.Errorf("with a silent hub what has not ended is not known: %+v", got)
	}
}

func TestGetJSON(t *testing.T) {
	f := newFleet(t)
	var one v1alpha1.MemberCluster
	read(t, f.run(t.Context(), "get", "cluster", "prod-eu", "-o", "json"), &one)
	if one.Kind != "MemberCluster" || one.APIVersion != "umbel.dev/v1alpha1" || one.ManagedFields != nil || len(one.Status.Packages) != 1 {
		t.Errorf("got %+v, want the MemberCluster as the API has it, without managed fields", one)
	}
	var several struct {
		Kind  string
		Items []v1alpha1.MemberCluster
	}
	read(t, f.run(t.Context(), "get", "clusters", "dev", "prod-eu", "-o", "json"), &several)
	if several.Kind != "List" || len(several.Items) != 2 || several.Items[0].Name != "dev" || several.Items[0].Kind != "MemberCluster" {
		t.Errorf("got %+v, want a List of the two in the order asked for", several)
	}
}

func TestStatusesAreAsOldAsTheHub(t *testing.T) {
	f := newFleet(t)
	f.heard(t, 3*time.Minute)
	want := said{
		Out: "" +
			"dev       Unknown   Unknown   v1.36.3   0/1   attached   15m\n" +
			"edge      Unknown   Unknown   -         0/0   attached   15m\n" +
			"prod-eu   Unknown   Unknown   v1.36.3   1/1   attached   15m\n" +
			"prod-us   Unknown   Unknown   v1.36.3   1/1   attached   15m\n",
		Err: "the hub has not been heard of for 3m; statuses are as old as that: is it running? `umbel up` starts it\n",
	}
	if diff := cmp.Diff(want, f.run(t.Context(), "get", "clusters", "--no-headers")); diff != "" {
		t.Errorf("with a silent hub (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1}, f.run(t.Context(), "get", "cluster", "nope")); diff != "" {
		t.Errorf("where nothing is shown, that it would be old is not said (-want +got):\n%s", diff)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubLease}}
	if err := f.api.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	want.Err = "the hub has never been heard of; statuses may be of any age: is it running? `umbel up` starts it\n"
	if diff := cmp.Diff(want, f.run(t.Context(), "get", "clusters", "--no-headers")); diff != "" {
		t.Errorf("without a Lease (-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	f := newFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	lines, done := f.follow(ctx, "get", "clusters", "-w")
	expect := func(reason string, want ...string) {
		t.Helper()
		for _, line := range want {
			if got := <-lines; strings.Join(strings.Fields(got), " ") != line {
				t.Fatalf("%s: got line %q, want %q", reason, got, line)
			}
		}
	}
	expect("the list comes first",
		"NAME READY CONNECTED KUBERNETES PACKAGES LEVEL AGE", "dev False True v1.36.3 0/1 attached 15m", "edge False False - 0/0 attached 15m",
		"prod-eu True True v1.36.3 1/1 attached 15m", "prod-us Unknown Unknown (4m ago) v1.36.3 1/1 attached 15m")

	edge := &v1alpha1.MemberCluster{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "edge"}, edge); err != nil {
		t.Fatal(err)
	}
	edge.Status.KubernetesVersion = "v1.35.4"
	if err := f.api.Status().Update(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	expect("a change is a row", "edge False False v1.35.4 0/0 attached 15m")

	f.heard(t, time.Minute)
	expect("a hub that falls silent takes every status back",
		"! the hub has not been heard of for 60s; statuses are as old as that: is it running? `umbel up` starts it",
		"dev Unknown Unknown v1.36.3 0/1 attached 15m", "edge Unknown Unknown v1.35.4 0/0 attached 15m",
		"prod-eu Unknown Unknown v1.36.3 1/1 attached 15m", "prod-us Unknown Unknown v1.36.3 1/1 attached 15m")
	f.heard(t, 0)
	expect("and gives them back when it returns",
		"! the hub is heard of again", "dev False True v1.36.3 0/1 attached 15m", "edge False False v1.35.4 0/0 attached 15m",
		"prod-eu True True v1.36.3 1/1 attached 15m", "prod-us Unknown Unknown (4m ago) v1.36.3 1/1 attached 15m")

	if err := f.api.Delete(t.Context(), edge); err != nil {
		t.Fatal(err)
	}
	expect("what is deleted is said to be gone", `! cluster "edge" is gone`)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("an interrupt ended the watch with %v, want no error", err)
	}
}
