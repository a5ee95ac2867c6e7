package clitest_test

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/kube/conditions"
	"umbel.dev/umbel/internal/upgrade"
)

const (
	oldAgent, newAgent = "v0.1.0-aaaaaaaaaaaa", "v0.1.1-bbbbbbbbbbbb"
	agentImage         = "hub.example.com:7443/umbel/agent"
)

// withAgents has the hub bring an agent, and the clusters run that of before: prod-eu's is from a registry of its own.
func (f *fleet) withAgents(t *testing.T) {
	t.Helper()
	for cluster, image := range map[string]string{"dev": agentImage, "prod-us": agentImage, "prod-eu": "registry.example.com/umbel/agent"} {
		f.runs(t, cluster, &v1alpha1.MemberAgent{Build: oldAgent, Image: image + ":" + oldAgent, Since: metav1.NewTime(f.now.Add(-time.Hour))})
	}
	f.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap},
		Data:       map[string]string{v1alpha1.HubInfoAgentImage: agentImage + ":" + newAgent},
	})
	t.Cleanup(func() {
		made := &v1alpha1.AgentUpgrade{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AgentUpgradeName}}
		if err := kube.IgnoreNotFound(f.api.Delete(context.WithoutCancel(t.Context()), made)); err != nil {
			t.Error(err)
		}
	})
}

// runs has a cluster's agent say what it is.
func (f *fleet) runs(t *testing.T, cluster string, agent *v1alpha1.MemberAgent) {
	t.Helper()
	member := &v1alpha1.MemberCluster{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: cluster}, member); err != nil {
		t.Fatal(err)
	}
	member.Status.Agent = agent
	if err := f.api.Status().Update(t.Context(), member); err != nil {
		t.Fatal(err)
	}
}

// decides is the hub's part: what it decides, until there is nothing left to do.
func (f *fleet) decides(t *testing.T) {
	t.Helper()
	for f.decidesOnce(t) > 0 {
	}
}

func (f *fleet) decidesOnce(t *testing.T) (orders int) {
	t.Helper()
	is := &v1alpha1.AgentUpgrade{}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: v1alpha1.AgentUpgradeName}, is); err != nil {
		t.Fatal(err)
	}
	var members v1alpha1.MemberClusterList
	if err := f.api.List(t.Context(), &members); err != nil {
		t.Fatal(err)
	}
	selected, err := upgrade.Selected(is.Spec, members.Items)
	if err != nil {
		t.Fatal(err)
	}
	decision := upgrade.Next(is, upgrade.Seen{Clusters: selected, Repository: agentImage}, f.now)
	is.Status = decision.Status
	conditions.DeriveReady(&is.Status.Conditions, is.Generation, v1alpha1.ConditionAdvancing, v1alpha1.ConditionUpgraded)
	for i := range is.Status.Conditions {
		is.Status.Conditions[i].LastTransitionTime = clitest.Ago(0) // golden files have no other
	}
	if err := f.api.Status().Update(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	for _, order := range decision.Orders {
		member := &v1alpha1.MemberCluster{}
		if err := f.api.Get(t.Context(), kube.ObjectKey{Name: string(order.Cluster)}, member); err != nil {
			t.Fatal(err)
		}
		member.Spec.Agent = order.Program
		if err := f.api.Update(t.Context(), member); err != nil {
			t.Fatal(err)
		}
	}
	return len(decision.Orders)
}

// minted are the fields that are different each time: those that an API gives an object, and times of the clock.
var minted = regexp.MustCompile(`("?(?:uid|resourceVersion|creationTimestamp|waveBegan)"?): "?[^",\n]+"?`)

func (f *fleet) golden(t *testing.T, name, args string) {
	t.Helper()
	got := f.run(t.Context(), strings.Fields(args)...)
	if got.Code != 0 {
		t.Fatalf("umbel %s: %+v", args, got)
	}
	clitest.Golden(t, name, minted.ReplaceAllString(got.Out, "$1: …")+got.Err)
}

func (f *fleet) says(t *testing.T, args string, want said) {
	t.Helper()
	if diff := cmp.Diff(want, f.run(t.Context(), strings.Fields(args)...)); diff != "" {
		t.Errorf("umbel %s (-want +got):\n%s", args, diff)
	}
}

// TestUpgradeMisused: what cannot be meant is refused before anything is written.
func TestUpgradeMisused(t *testing.T) {
	f := newFleet(t)
	f.withAgents(t)
	for args, want := range map[string]string{
		"upgrade agents --clusters env=prod,env>1": "error: --clusters: ",
		"upgrade agents --image A:b:c":             "error: --image: could not parse reference: A:b:c\n",
		"upgrade agents --wave 0":                  "error: --wave is a number of clusters from 1, or a part of them from 1% to 100%, not \"0\"\n",
		"upgrade agents --wave 101%":               "not \"101%\"\n",
		"upgrade agents --wave all":                "not \"all\"\n",
		"upgrade agents --canary 0":                "error: --canary is at least 1, and --bake no negative time\n",
		"upgrade agents --bake -1s":                "error: --canary is at least 1, and --bake no negative time\n",
		"upgrade agents --version v9":              "error: --version \"v9\": the hub knows no build that begins so; it knows " + oldAgent + ", " + newAgent + "\n",
		"upgrade agents --version v0":              "error: --version \"v0\": several builds begin so: " + oldAgent + ", " + newAgent + "\n",
		"upgrade agents now":                       "error: ",
		"upgrade status -o wide":                   "\"wide\" is not one of json, yaml",
		"upgrade pause now":                        "error: ",
	} {
		if got := f.run(t.Context(), strings.Fields(args)...); got.Code != 2 || !strings.Contains(got.Err, want) {
			t.Errorf("umbel %s: got %+v, want %q and code 2", args, got, want)
		}
	}
	f.says(t, "upgrade status", said{Err: "error: no upgrade of agents has been asked for: `umbel upgrade agents` does\n", Code: 1})
}

func TestUpgradeStory(t *testing.T) {
	f := newFleet(t)
	const none = "error: no upgrade of agents has been asked for: `umbel upgrade agents` does\n"
	f.says(t, "upgrade agents", said{Err: "error: reading which agent the hub brings: configmaps \"hub-info\" not found\n", Code: 1})
	f.withAgents(t)
	for _, verb := range []string{"status", "pause", "resume", "abort"} {
		f.says(t, "upgrade "+verb, said{Err: none, Code: 1})
	}
	for name, admission := range map[string]v1alpha1.Admission{"asks": v1alpha1.AdmissionPending, "refused": v1alpha1.AdmissionDenied} {
		f.create(t, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.MemberClusterSpec{Admission: admission}})
	}
	f.golden(t, "upgrade-dry-run.txt", "upgrade agents --dry-run") // who is no member is not counted
	f.runs(t, "dev", &v1alpha1.MemberAgent{Build: "v0.9.0-cccccccccccc"})
	f.golden(t, "upgrade-too-far.txt", "upgrade agents --dry-run --version v0.9 --clusters env=dev")
	f.says(t, "upgrade status", said{Err: none, Code: 1}) // a dry run writes nothing
	f.runs(t, "dev", &v1alpha1.MemberAgent{Build: oldAgent, Image: agentImage + ":" + oldAgent})

	f.says(t, "upgrade agents --wave 2 --bake 5m", said{
		Out: "agentupgrade/agents: " + newAgent + "\n", Err: "`umbel upgrade status` shows how far it is\n",
	})
	f.golden(t, "upgrade-pending.txt", "upgrade status")
	f.decides(t)
	f.golden(t, "upgrade-status.txt", "upgrade status")
	f.golden(t, "upgrade-status.json", "upgrade status -o json")
	f.golden(t, "upgrade-status.yaml", "upgrade status -o yaml")

	f.runs(t, "dev", &v1alpha1.MemberAgent{Build: oldAgent, Image: agentImage + ":" + oldAgent, Upgrade: &v1alpha1.MemberUpgrade{
		Build: newAgent, Phase: v1alpha1.UpgradeRolledBack, Message: "it did not get into session in 1m0s",
	}})
	f.decides(t)
	f.golden(t, "upgrade-failed.txt", "upgrade status")

	f.says(t, "upgrade pause", said{Out: "agentupgrade/agents paused\n"})
	f.says(t, "upgrade pause", said{Out: "agentupgrade/agents: nothing to change\n"})
	f.says(t, "upgrade resume", said{Out: "agentupgrade/agents resumed\n"})
	f.decides(t)
	f.golden(t, "upgrade-again.txt", "upgrade status") // what failed tries again
	f.says(t, "upgrade abort", said{Out: "agentupgrade/agents aborted\n"})
	f.decides(t)
	f.golden(t, "upgrade-aborted.txt", "upgrade status")
	f.says(t, "upgrade agents --version v0.1.0 --clusters env=dev", said{
		Out: "agentupgrade/agents: " + oldAgent + "\n", Err: "`umbel upgrade status` shows how far it is\n",
	})
	f.decides(t)
	f.golden(t, "upgrade-done.txt", "upgrade status")
	f.says(t, "upgrade resume", said{Out: "agentupgrade/agents: nothing to change\n"})
}

// TestUpgradeWaits: --wait says how far it is, and ends with the upgrade, one way or the other.
func TestUpgradeWaits(t *testing.T) {
	f := newFleet(t)
	f.withAgents(t)
	wait := func(args string) (<-chan string, <-chan error) {
		lines, done := f.follow(t.Context(), strings.Fields(args)...)
		if got, want := <-lines, "agentupgrade/agents: "+newAgent; got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		return lines, done
	}
	expect := func(lines <-chan string, want string) {
		t.Helper()
		if got := <-lines; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	lines, done := wait("upgrade agents --clusters env=dev --wait")
	f.decides(t)
	expect(lines, "! 0/1: wave 1: dev")
	f.runs(t, "dev", &v1alpha1.MemberAgent{Build: oldAgent, Image: agentImage + ":" + oldAgent, Upgrade: &v1alpha1.MemberUpgrade{
		Build: newAgent, Phase: v1alpha1.UpgradeFailed, Message: "the image cannot be pulled",
	}})
	f.decides(t)
	expect(lines, "! 0/1: stopped, since dev failed: Failed: the image cannot be pulled")
	if err := <-done; err == nil || err.Error() != "stopped, since dev failed: Failed: the image cannot be pulled" {
		t.Errorf("one that stopped: got %v", err)
	}
	lines, done = wait("upgrade agents --clusters env=dev --wait")
	f.runs(t, "dev", &v1alpha1.MemberAgent{Build: newAgent, Image: agentImage + ":" + newAgent, Since: metav1.NewTime(f.now)})
	f.decides(t)
	expect(lines, "! 1/1: 1 of 1 cluster runs "+newAgent)
	if err := <-done; err != nil {
		t.Errorf("one that is done: got %v", err)
	}
}

// TestUpgradeOfNoCluster: labels that no cluster has are a typo, and ask for nothing.
func TestUpgradeOfNoCluster(t *testing.T) {
	f := newFleet(t)
	f.withAgents(t)
	for _, args := range []string{"upgrade agents --clusters env=none", "upgrade agents --clusters env=none --dry-run"} {
		want := said{Err: "error: no clusters match env=none (of 4 clusters): nothing is asked for or changed; `umbel get clusters -o wide` shows their labels\n", Code: 1}
		if diff := cmp.Diff(want, f.run(t.Context(), strings.Fields(args)...)); diff != "" {
			t.Errorf("umbel %s (-want +got):\n%s", args, diff)
		}
	}
	if got := f.run(t.Context(), "upgrade", "status"); got.Code != 1 || !strings.Contains(got.Err, "no upgrade of agents has been asked for") {
		t.Errorf("then there is an upgrade: %+v", got)
	}
}

// TestUpgradeDryRunForPrograms: what would happen is an AgentUpgrade that nobody has written.
func TestUpgradeDryRunForPrograms(t *testing.T) {
	f := newFleet(t)
	f.withAgents(t)
	got := f.run(t.Context(), strings.Fields("upgrade agents --dry-run -o json")...)
	var planned v1alpha1.AgentUpgrade
	if err := json.Unmarshal([]byte(got.Out), &planned); err != nil || got.Code != 0 {
		t.Fatalf("%v: %+v", err, got)
	}
	if planned.Kind != "AgentUpgrade" || planned.Spec.Build != newAgent || planned.Status.Changing != 1 || planned.Status.LeftOut != 1 {
		t.Errorf("got %s", got.Out)
	}
	want := said{Err: "error: -o is for --dry-run: `umbel upgrade status -o yaml` shows what was asked for, and how far it is\n", Code: 2}
	if diff := cmp.Diff(want, f.run(t.Context(), strings.Fields("upgrade agents -o yaml")...)); diff != "" {
		t.Errorf("without --dry-run (-want +got):\n%s", diff)
	}
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: v1alpha1.AgentUpgradeName}, &planned); !apierrors.IsNotFound(err) {
		t.Errorf("then there is an upgrade: %v", err)
	}
}
