package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: ago(24 * time.Hour)}
}

// so is a condition that has been so for an hour.
func so(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: "because", LastTransitionTime: ago(time.Hour)}
}

func cluster(name string, conditions ...metav1.Condition) v1alpha1.MemberCluster {
	return v1alpha1.MemberCluster{ObjectMeta: named("", name), Status: v1alpha1.MemberClusterStatus{Conditions: conditions}}
}

var connected = so(v1alpha1.ConditionConnected, metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)

func pkg(name string, conditions ...metav1.Condition) v1alpha1.Package {
	p := v1alpha1.Package{ObjectMeta: named("default", name), Status: v1alpha1.PackageStatus{Conditions: conditions}}
	p.Spec.PlacementRef.Name = "all"
	return p
}

func rollout(name, reason string, since time.Duration) v1alpha1.Rollout {
	c := so(v1alpha1.ConditionProgressing, metav1.ConditionFalse, reason)
	c.LastTransitionTime = ago(since)
	r := v1alpha1.Rollout{ObjectMeta: named("shop", name), Status: v1alpha1.RolloutStatus{Phase: v1alpha1.RolloutRunning, Conditions: []metav1.Condition{c}}}
	r.Spec.PackageRef.Name = "web"
	return r
}

func gone(m metav1.ObjectMeta, d time.Duration) metav1.ObjectMeta {
	at := ago(d)
	m.DeletionTimestamp = &at
	return m
}

func TestFindings(t *testing.T) {
	seen := ago(4 * time.Minute)
	silent := cluster("silent", so(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout), so(v1alpha1.ConditionReady, metav1.ConditionTrue, "AllApplied"))
	silent.Status.LastSeen = &seen
	ending := func(in time.Duration) v1alpha1.MemberCluster {
		c := cluster("ending", connected, so(v1alpha1.ConditionCertificatesValid, metav1.ConditionFalse, v1alpha1.ReasonCertificateEnds))
		c.Status.Properties = []v1alpha1.MemberProperty{{Name: v1alpha1.CertificateProperty, Value: noon.Add(in).Format(time.RFC3339) + " CA"}}
		return c
	}
	endsUnseen := ending(time.Hour)
	endsUnseen.Status.Conditions = []metav1.Condition{connected, so(v1alpha1.ConditionCertificatesValid, metav1.ConditionTrue, v1alpha1.ReasonCertificatesLast)}
	restarted := cluster("restarted", so(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonHubRestarted))
	restarted.Status.Conditions[0].LastTransitionTime = ago(10 * time.Second)
	leaving := cluster("leaving", so(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonSessionClosed), so(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLeaving))
	leaving.ObjectMeta = gone(leaving.ObjectMeta, time.Hour)
	newcomer := cluster("new")
	newcomer.CreationTimestamp = ago(10 * time.Second)
	failing := cluster("failing", connected, so(v1alpha1.ConditionSynced, metav1.ConditionFalse, v1alpha1.ReasonPackageFailed))
	failing.Status.Packages = []v1alpha1.MemberPackage{{Package: "default/web", Phase: v1alpha1.PackageFailed}}
	drifting := cluster("drifting", connected)
	drifting.Status.Packages = []v1alpha1.MemberPackage{{Package: "default/web", Phase: v1alpha1.PackageApplied, Drifting: 2}}
	failingPackage := pkg("web", so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing), so(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing))
	going := pkg("web", so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonDeleting))
	going.ObjectMeta = gone(going.ObjectMeta, time.Hour)
	older := pkg("web", so(v1alpha1.ConditionFetched, metav1.ConditionFalse, v1alpha1.ReasonFetchFailed))
	older.Generation = 2
	borne := rollout("web-2", v1alpha1.ReasonBaking, time.Hour)
	borne.Status.Clusters, borne.Status.Failed = 20, 1
	borne.Status.Failures = []v1alpha1.RolloutFailure{{Cluster: "edge", Message: "no image"}}
	over := rollout("web-1", v1alpha1.ReasonHalted, time.Hour)
	over.Status.Successor = "web-2"
	kubernetes := rollout("v1-36", v1alpha1.ReasonPaused, time.Hour)
	kubernetes.Spec.Kubernetes = &v1alpha1.KubernetesRollout{}
	undecided := v1alpha1.Placement{ObjectMeta: named("default", "all"), Status: v1alpha1.PlacementStatus{Undecided: []v1alpha1.ClusterName{"edge"}}}
	unsatisfied := v1alpha1.Placement{ObjectMeta: named("default", "all"), Status: v1alpha1.PlacementStatus{Conditions: []metav1.Condition{
		so(v1alpha1.ConditionDecided, metav1.ConditionTrue, v1alpha1.ReasonDecided), so(v1alpha1.ConditionSatisfied, metav1.ConditionFalse, v1alpha1.ReasonTooFewClusters),
	}}}
	scoped := pkg("scope-team", so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing))
	scoped.Namespace = v1alpha1.SystemNamespace
	team := v1alpha1.Scope{ObjectMeta: named("", "team"), Status: v1alpha1.ScopeStatus{Conditions: []metav1.Condition{so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing)}}}
	provider := func(reason string) v1alpha1.Provider {
		return v1alpha1.Provider{ObjectMeta: named("", "local"), Status: v1alpha1.ProviderStatus{Conditions: []metav1.Condition{so(v1alpha1.ConditionReady, metav1.ConditionFalse, reason)}}}
	}
	upgrade := v1alpha1.AgentUpgrade{ObjectMeta: named("", "agents"), Status: v1alpha1.AgentUpgradeStatus{Conditions: []metav1.Condition{
		so(v1alpha1.ConditionAdvancing, metav1.ConditionFalse, v1alpha1.ReasonStopped), so(v1alpha1.ConditionUpgraded, metav1.ConditionFalse, v1alpha1.ReasonUpgradeFailed),
	}}}
	managed := func(phase string, age time.Duration) ManagedCluster {
		c := so("Available", metav1.ConditionFalse, "NotAvailable")
		m := ManagedCluster{ObjectMeta: named("default", "prod"), Phase: phase, Available: &c}
		m.CreationTimestamp = ago(age)
		return m
	}
	lease := func(ago time.Duration) coordinationv1.Lease {
		renewed, lasts := metav1.NewMicroTime(noon.Add(-ago)), int32(8)
		return coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "umbel-replica-b", Labels: map[string]string{v1alpha1.ReplicaLabel: "b"}},
			Spec:       coordinationv1.LeaseSpec{RenewTime: &renewed, LeaseDurationSeconds: &lasts},
		}
	}
	cases := []struct {
		reason string
		fleet  Fleet
		want   []string
	}{
		{"nothing there", Fleet{}, nil},
		{"all is well", Fleet{
			Clusters: []v1alpha1.MemberCluster{cluster("well", connected)}, Packages: []v1alpha1.Package{pkg("web", so(v1alpha1.ConditionDelivered, metav1.ConditionTrue, v1alpha1.ReasonDelivered))},
			Replicas: []coordinationv1.Lease{lease(time.Second)},
		}, nil},
		{
			"while the hub is silent nothing of what it said is repeated", Fleet{Silence: "the hub has not been heard of", Heard: noon.Add(-time.Hour), Clusters: []v1alpha1.MemberCluster{silent}},
			[]string{"Critical hub HubSilent 1h0m0s: umbel get clusters -o wide"},
		},
		{"a replica that was killed", Fleet{Replicas: []coordinationv1.Lease{lease(time.Minute)}}, []string{"Failing replica/b ReplicaSilent 1m0s: kubectl -n umbel-system describe lease umbel-replica-b"}},
		{
			"a cluster that does not answer, since it did last, whatever it said of itself", Fleet{Clusters: []v1alpha1.MemberCluster{silent}},
			[]string{"Critical cluster/silent ProbeTimeout 4m0s: umbel describe cluster silent"},
		},
		{"just after the hub was started", Fleet{Clusters: []v1alpha1.MemberCluster{restarted, newcomer}}, []string{"Warning cluster/restarted HubRestarted 10s: umbel describe cluster restarted"}},
		{"a hub that never said a word of a cluster", Fleet{Clusters: []v1alpha1.MemberCluster{cluster("old")}}, []string{"Critical cluster/old NeverSeen 24h0m0s: umbel describe cluster old"}},
		{"a cluster that leaves and does not answer", Fleet{Clusters: []v1alpha1.MemberCluster{leaving}}, []string{"Waiting cluster/leaving Leaving 1h0m0s: umbel describe cluster leaving"}},
		{"who waits for somebody, and who was put to sleep or refused", Fleet{Clusters: []v1alpha1.MemberCluster{
			cluster("a", so(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonPendingApproval)), cluster("b", so(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonSuspended)),
			cluster("c", so(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonHibernated)), cluster("d", so(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonDenied)),
		}}, []string{"Waiting cluster/a PendingApproval 1h0m0s: umbel approve a", "Waiting cluster/b Suspended 1h0m0s: umbel resume b"}},
		{"a reason of a later version", Fleet{Clusters: []v1alpha1.MemberCluster{
			cluster("a", so(v1alpha1.ConditionConnected, metav1.ConditionFalse, "Later")), cluster("b", so(v1alpha1.ConditionConnected, metav1.ConditionUnknown, "Later")),
		}}, []string{"Critical cluster/b Later 1h0m0s: umbel describe cluster b", "Warning cluster/a Later 1h0m0s: umbel describe cluster a"}},
		{"a certificate that ends in a week", Fleet{Clusters: []v1alpha1.MemberCluster{ending(7 * 24 * time.Hour)}}, []string{"Warning cluster/ending CertificateEnds 1h0m0s: umbel describe cluster ending"}},
		{"… tomorrow", Fleet{Clusters: []v1alpha1.MemberCluster{ending(24 * time.Hour)}}, []string{"Failing cluster/ending CertificateEnds 1h0m0s: umbel describe cluster ending"}},
		{"… yesterday", Fleet{Clusters: []v1alpha1.MemberCluster{ending(-24 * time.Hour)}}, []string{"Critical cluster/ending CertificateEnds 1h0m0s: umbel describe cluster ending"}},
		{"… while its agent is not there to say so", Fleet{Clusters: []v1alpha1.MemberCluster{endsUnseen}}, []string{"Failing cluster/ending CertificateEnds -: umbel describe cluster ending"}},
		{
			"a package that fails on a cluster is told of once", Fleet{Clusters: []v1alpha1.MemberCluster{failing}, Packages: []v1alpha1.Package{failingPackage}},
			[]string{"Failing package/default/web ClustersFailing 1h0m0s: umbel describe package web"},
		},
		{"… as the cluster, by who may not see packages", Fleet{Clusters: []v1alpha1.MemberCluster{failing}}, []string{"Failing cluster/failing PackageFailed 1h0m0s: umbel describe cluster failing"}},
		{"a source that cannot be read, and what follows", Fleet{Packages: []v1alpha1.Package{pkg("web",
			so(v1alpha1.ConditionFetched, metav1.ConditionFalse, v1alpha1.ReasonFetchFailed), so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonNoRelease),
		)}}, []string{"Failing package/default/web FetchFailed 1h0m0s: umbel describe package web"}},
		{"what is at work, or follows from a cluster that is away", Fleet{Packages: []v1alpha1.Package{
			pkg("a", so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonDelivering)), pkg("b", so(v1alpha1.ConditionDelivered, metav1.ConditionUnknown, v1alpha1.ReasonClustersUnknown)),
			pkg("c", so(v1alpha1.ConditionDependencies, metav1.ConditionFalse, v1alpha1.ReasonWaiting)), older,
		}}, nil},
		{"what waits for a word", Fleet{Packages: []v1alpha1.Package{
			pkg("a", so(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonDeletesHeld)), pkg("b", so(v1alpha1.ConditionPlanned, metav1.ConditionFalse, v1alpha1.ReasonPlanRequired)),
		}}, []string{"Waiting package/default/a DeletesHeld 1h0m0s: umbel approve deletes a", "Waiting package/default/b PlanRequired 1h0m0s: umbel describe package b"}},
		{"nowhere, and contested", Fleet{Packages: []v1alpha1.Package{
			pkg("a", so(v1alpha1.ConditionPlaced, metav1.ConditionTrue, v1alpha1.ReasonNoClusters)), pkg("b", so(v1alpha1.ConditionContested, metav1.ConditionTrue, v1alpha1.ReasonWantedByOthers)),
		}}, []string{"Warning package/default/a NoClusters 1h0m0s: umbel describe placement all", "Warning package/default/b WantedByOthers 1h0m0s: umbel describe package b"}},
		{"drift that is left so", Fleet{Clusters: []v1alpha1.MemberCluster{drifting}, Packages: []v1alpha1.Package{pkg("web")}}, []string{"Warning package/default/web Drifting -: umbel drift web"}},
		{"a package that does not go", Fleet{Packages: []v1alpha1.Package{going}}, []string{"Waiting package/default/web Deleting 1h0m0s: umbel describe package web"}},
		{"rollouts that stand still", Fleet{Rollouts: []v1alpha1.Rollout{
			rollout("web-3", v1alpha1.ReasonHalted, time.Hour), rollout("web-4", v1alpha1.ReasonAwaitingApproval, time.Hour), rollout("web-5", v1alpha1.ReasonAwaitingClusters, time.Hour), kubernetes,
		}}, []string{
			"Failing rollout/shop/web-5 AwaitingClusters 1h0m0s: umbel rollout status web -n shop", "Failing rollout/shop/web-3 Halted 1h0m0s: umbel rollout status web -n shop",
			"Waiting rollout/shop/web-4 AwaitingApproval 1h0m0s: umbel rollout approve web -n shop", "Waiting rollout/shop/v1-36 Paused 1h0m0s: umbel rollout status rollout/v1-36 -n shop",
		}},
		{"rollouts that go on, or are over", Fleet{Rollouts: []v1alpha1.Rollout{rollout("web-2", v1alpha1.ReasonBaking, time.Hour), rollout("web-3", v1alpha1.ReasonAwaitingClusters, time.Minute), rollout("web-4", v1alpha1.ReasonAwaitingGate, time.Minute), over}}, nil},
		{"a gate that holds one up for long", Fleet{Rollouts: []v1alpha1.Rollout{rollout("web-2", v1alpha1.ReasonAwaitingGate, time.Hour)}}, []string{
			"Failing rollout/shop/web-2 AwaitingGate 1h0m0s: umbel rollout status web -n shop",
		}},
		{"a failure that a rollout bears", Fleet{Rollouts: []v1alpha1.Rollout{borne}}, []string{"Warning rollout/shop/web-2 ClustersFailed -: umbel rollout status web -n shop"}},
		{"placements", Fleet{Placements: []v1alpha1.Placement{undecided, unsatisfied}}, []string{
			"Warning placement/default/all ClustersUndecided -: umbel explain placement all --cluster edge", "Warning placement/default/all TooFewClusters 1h0m0s: umbel explain placement all",
		}},
		{"a scope is told of as such, and not as its package", Fleet{Packages: []v1alpha1.Package{scoped}, Scopes: []v1alpha1.Scope{team}}, []string{"Failing scope/team ClustersFailing 1h0m0s: umbel describe scope team"}},
		{"providers", Fleet{Providers: []v1alpha1.Provider{provider(v1alpha1.ReasonProcessEnds), provider(v1alpha1.ReasonStarting)}}, []string{"Failing provider/local ProcessEnds 1h0m0s: umbel provider list -o wide"}},
		{"an upgrade of agents that stopped is told of once", Fleet{Upgrades: []v1alpha1.AgentUpgrade{upgrade}}, []string{"Failing agentupgrade/agents Stopped 1h0m0s: umbel upgrade status"}},
		{"alerts, as bad as their severity says; those of what the hub knows are told of once", Fleet{Alerts: []FiringAlert{
			{Object: "umbel-system/umbel-fleet", Name: "ClusterUnreachable", Labels: map[string]string{"cluster": "a", "severity": "critical"}},
			{Object: "umbel-system/umbel-fleet", Name: "RulesBroken", Labels: map[string]string{"prometheusrule": "own", "severity": "warning"}, Annotations: map[string]string{"summary": "s", "command": "c"}},
			{Object: "umbel-system/own", Name: "Late", Labels: map[string]string{"cluster": "a", "node": "n", "severity": "critical"}, Since: ago(time.Minute)},
			{Object: "umbel-system/own", Name: "Odd"},
		}}, []string{"Critical alert/a/n Late 1m0s: ", "Failing alert/own RulesBroken -: c", "Warning alert Odd -: "}},
		{"clusters that the hub makes", Fleet{Managed: []ManagedCluster{managed("Provisioned", time.Minute), managed("Provisioning", time.Minute), managed("Provisioning", time.Hour), managed("Failed", time.Minute)}}, []string{
			"Failing managed cluster/default/prod Failed -: umbel cluster describe prod",
			"Failing managed cluster/default/prod NotAvailable 1h0m0s: umbel cluster describe prod", "Failing managed cluster/default/prod NotAvailable 1h0m0s: umbel cluster describe prod",
		}},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			c.fleet.Now = noon
			var got []string
			for _, f := range c.fleet.Findings() {
				since := "-"
				if f.Since != nil {
					since = noon.Sub(f.Since.Time).String()
				}
				if f.Message == "" {
					t.Errorf("%s says nothing", f.Object())
				}
				got = append(got, fmt.Sprintf("%s %s %s %s: %s", f.Level, f.Object(), f.Reason, since, f.Command))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGather: four clusters for one reason are one line, three are three.
func TestGather(t *testing.T) {
	var fleet Fleet
	for i := range 4 {
		fleet.Clusters = append(fleet.Clusters, cluster(fmt.Sprintf("c%d", i), so(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout)))
		fleet.Clusters[i].Status.Conditions[0].LastTransitionTime = ago(time.Duration(i) * time.Hour)
	}
	fleet.Packages = []v1alpha1.Package{pkg("web", so(v1alpha1.ConditionFetched, metav1.ConditionFalse, v1alpha1.ReasonFetchFailed))}
	fleet.Now = noon
	got := Gather(fleet.Findings(), 3)
	if len(got) != 2 || got[0].Name != "c3" || len(got[0].Names) != 4 || got[0].Command != "umbel get clusters -o wide" || got[1].Name != "web" || len(got[1].Names) != 1 {
		t.Errorf("got %+v", got)
	}
	if got := Gather(fleet.Findings(), 4); len(got) != 5 || got[0].Command != "umbel describe cluster c3" {
		t.Errorf("got %+v", got)
	}
}

func TestFights(t *testing.T) {
	held := v1alpha1.MemberPackage{
		Failures: []v1alpha1.ObjectFailure{{Object: "Deployment.apps shop/web"}, {Object: "ConfigMap shop/broken"}},
		Drifts: []v1alpha1.Drift{
			{Object: "Deployment.apps shop/web", Action: v1alpha1.DriftFought}, {Object: "Deployment.apps shop/web", Action: v1alpha1.DriftFought},
			{Object: "Service shop/web", Action: v1alpha1.DriftFought}, {Object: "ConfigMap shop/broken", Action: v1alpha1.DriftRepaired},
		},
	}
	if got := Fights(&held); got != 1 {
		t.Errorf("got %d fights, want that of the Deployment alone: the Service's is over, and the ConfigMap is broken", got)
	}
}

func TestExpected(t *testing.T) {
	for reason, want := range map[string][2]bool{
		v1alpha1.ReasonProbeTimeout: {true, false}, v1alpha1.ReasonAPIUnreachable: {true, false}, v1alpha1.ReasonHibernated: {false, false},
		v1alpha1.ReasonAwaitingAgent: {false, false}, v1alpha1.ReasonSuspended: {false, false}, "Later": {true, false},
	} {
		c := cluster("c", so(v1alpha1.ConditionConnected, metav1.ConditionFalse, reason))
		if expected, connected := Expected(&c); expected != want[0] || connected != want[1] {
			t.Errorf("%s: got %v, %v", reason, expected, connected)
		}
	}
	c := cluster("c", connected)
	if expected, connected := Expected(&c); !expected || !connected {
		t.Errorf("one that is connected: got %v, %v", expected, connected)
	}
}

func TestCounts(t *testing.T) {
	ready := so(v1alpha1.ConditionReady, metav1.ConditionTrue, "Ready")
	away := cluster("away", so(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout), ready)
	fleet := Fleet{Clusters: []v1alpha1.MemberCluster{cluster("a", connected, ready), away}, Packages: []v1alpha1.Package{pkg("a", ready), pkg("b")}}
	if got, want := fleet.Counts(), (Counts{Clusters: 2, ClustersReady: 1, Packages: 2, PackagesReady: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	fleet.Silence = "the hub is silent"
	if got, want := fleet.Counts(), (Counts{Clusters: 2, Packages: 2}); got != want {
		t.Errorf("with a silent hub: got %+v, want %+v", got, want)
	}
}
