package clitest

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

// Now is when tests look.
var Now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// Revision and Release are what the package Shop is at.
const (
	Revision = "4f0c2a9e7b1d83c6f5a2e1d0c9b8a7f6e5d4c3b2"
	Release  = "shop-1a2b3c4d"
)

// Alive is Now, with a hub that was heard of three seconds ago.
func Alive() view.Moment { return heard(3 * time.Second) }

// Silent is Now, with a hub that was not heard of for three minutes.
func Silent() view.Moment { return heard(3 * time.Minute) }

// Unheard is Now, with a hub that was never heard of.
func Unheard() view.Moment { return view.Moment{Now: Now} }

func heard(ago time.Duration) view.Moment {
	return view.Moment{Now: Now, Pulse: view.Pulse{Heard: Now.Add(-ago), Lasts: 15 * time.Second}}
}

// Ago is a time before Now.
func Ago(d time.Duration) metav1.Time { return metav1.NewTime(Now.Add(-d)) }

// Condition is one that has been so for an hour.
func Condition(conditionType string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: conditionType, Status: status, Reason: reason, Message: message,
		LastTransitionTime: Ago(time.Hour), ObservedGeneration: 1,
	}
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Generation: 1, CreationTimestamp: Ago(26 * time.Hour)}
}

// Clusters are four members: prod-eu is as it should be, prod-us is cut off, dev fails, edge has never come.
func Clusters() []v1alpha1.MemberCluster {
	return []v1alpha1.MemberCluster{dev(), edge(), prodEU(), prodUS()}
}

func prodEU() v1alpha1.MemberCluster {
	expires, repaired := metav1.NewTime(Now.Add(20*time.Hour)), held()
	repaired.Repairs = 2
	repaired.LastRepair = &v1alpha1.Repair{Object: "Role shop/pod-reader", Cause: "Deleted", Time: Ago(3 * time.Second)}
	c := v1alpha1.MemberCluster{ObjectMeta: meta("", "prod-eu")}
	c.Labels = map[string]string{"env": "prod", "region": "eu"}
	c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
	c.Status = v1alpha1.MemberClusterStatus{
		Conditions: []metav1.Condition{
			Condition(v1alpha1.ConditionJoined, metav1.ConditionTrue, v1alpha1.ReasonKeyPinned, "the agent's key is pinned"),
			Condition(v1alpha1.ConditionConnected, metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered, "the agent answers"),
			Condition(v1alpha1.ConditionSynced, metav1.ConditionTrue, v1alpha1.ReasonAllApplied, "1 package is applied"),
			Condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAllApplied, "1 package is applied"),
		},
		Identity:          &v1alpha1.MemberIdentity{KeyFingerprint: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", CertificateNotAfter: &expires},
		AgentVersion:      "v0.1.0",
		KubernetesVersion: "v1.36.3",
		Packages:          []v1alpha1.MemberPackage{repaired},
		Properties:        ends(300*24*time.Hour, "API server"),
	}
	return c
}

func prodUS() v1alpha1.MemberCluster {
	seen := Ago(4 * time.Minute)
	c := prodEU()
	c.ObjectMeta = meta("", "prod-us")
	c.Labels = map[string]string{"env": "prod", "region": "us"}
	lost := "the agent has not answered a probe since 11:56"
	c.Status.Conditions = []metav1.Condition{
		Condition(v1alpha1.ConditionJoined, metav1.ConditionTrue, v1alpha1.ReasonKeyPinned, "the agent's key is pinned"),
		Condition(v1alpha1.ConditionConnected, metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout, lost),
		Condition(v1alpha1.ConditionSynced, metav1.ConditionTrue, v1alpha1.ReasonAllApplied, "1 package is applied"),
		Condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonAllApplied, lost), // a gateway that is late
	}
	c.Status.LastSeen = &seen
	c.Status.Packages = []v1alpha1.MemberPackage{held()}
	return c
}

func dev() v1alpha1.MemberCluster {
	c := prodEU()
	c.ObjectMeta = meta("", "dev")
	c.Labels = map[string]string{"env": "dev"}
	failed := held()
	failed.Phase, failed.Applied, failed.Healthy = v1alpha1.PackageFailed, 3, 2
	failed.Message = "1 of 4 objects could not be applied"
	failed.Failures = []v1alpha1.ObjectFailure{{
		Object: "Deployment.apps shop/web", File: "apps/web.yaml",
		Message: "spec.replicas: Invalid value: \"three\": must be an integer",
	}}
	c.Status.Conditions = []metav1.Condition{
		Condition(v1alpha1.ConditionJoined, metav1.ConditionTrue, v1alpha1.ReasonKeyPinned, "the agent's key is pinned"),
		Condition(v1alpha1.ConditionConnected, metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered, "the agent answers"),
		Condition(v1alpha1.ConditionSynced, metav1.ConditionFalse, v1alpha1.ReasonPackageFailed, "default/shop: 1 of 4 objects could not be applied"),
		Condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonPackageFailed, "default/shop: 1 of 4 objects could not be applied"),
	}
	c.Status.Packages = []v1alpha1.MemberPackage{failed}
	c.Status.Properties = ends(10*24*time.Hour, "kubelet of dev-1")
	return c
}

func edge() v1alpha1.MemberCluster {
	c := v1alpha1.MemberCluster{ObjectMeta: meta("", "edge")}
	c.Status.Conditions = []metav1.Condition{
		Condition(v1alpha1.ConditionJoined, metav1.ConditionFalse, v1alpha1.ReasonAwaitingAgent, "no agent has come yet"),
		Condition(v1alpha1.ConditionConnected, metav1.ConditionFalse, v1alpha1.ReasonAwaitingAgent, "no agent has come yet"),
		Condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonAwaitingAgent, "no agent has come yet"),
	}
	return c
}

// ends says what an agent does of the first certificate of its cluster to end.
func ends(in time.Duration, of string) []v1alpha1.MemberProperty {
	return []v1alpha1.MemberProperty{{Name: v1alpha1.CertificateProperty, Value: Now.Add(in).Format(time.RFC3339) + " " + of, Since: Ago(26 * time.Hour)}}
}

// held is the package Shop, applied and healthy.
func held() v1alpha1.MemberPackage {
	return v1alpha1.MemberPackage{
		Package: v1alpha1.KeyOf("default", "shop"), Release: Release, Revision: Revision,
		Digest: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
		Phase:  v1alpha1.PackageApplied, Objects: 4, Applied: 4, Healthy: 4, Since: Ago(50 * time.Minute),
	}
}

// Shop is a package for prod-eu, prod-us and dev.
func Shop() *v1alpha1.Package {
	return &v1alpha1.Package{
		ObjectMeta: meta("default", "shop"),
		Spec: v1alpha1.PackageSpec{
			Source:       source("apps/shop"),
			PlacementRef: v1alpha1.LocalReference{Name: "shops"},
		},
		Status: v1alpha1.PackageStatus{
			ObservedGeneration: 1,
			Conditions: []metav1.Condition{
				Condition(v1alpha1.ConditionFetched, metav1.ConditionTrue, v1alpha1.ReasonFetched, "fetched main at 4f0c2a9e7b1d"),
				Condition(v1alpha1.ConditionRendered, metav1.ConditionTrue, v1alpha1.ReasonRendered, "rendered 4 objects in 2 variants"),
				Condition(v1alpha1.ConditionPlaced, metav1.ConditionTrue, v1alpha1.ReasonPlaced, "placed on 3 clusters"),
				Condition(v1alpha1.ConditionDelivered, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing, "1 of 3 clusters fails: dev"),
				Condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonClustersFailing, "1 of 3 clusters fails: dev"),
			},
			Release: Release, Revision: Revision,
			Clusters: v1alpha1.ClusterCounts{Summary: "1/3", Selected: 3, Ready: 1, Failing: 1, Unknown: 1},
		},
	}
}

// Broken is a package whose source cannot be fetched, in another namespace.
func Broken() *v1alpha1.Package {
	pkg := &v1alpha1.Package{ObjectMeta: meta("team-a", "broken")}
	pkg.Spec = v1alpha1.PackageSpec{Source: source("."), PlacementRef: v1alpha1.LocalReference{Name: "nowhere"}}
	pkg.Status.ObservedGeneration = 1
	pkg.Status.Conditions = []metav1.Condition{
		Condition(v1alpha1.ConditionFetched, metav1.ConditionFalse, v1alpha1.ReasonFetchFailed, "https://git.example.com/fleet.git: repository not found"),
		Condition(v1alpha1.ConditionPlaced, metav1.ConditionFalse, v1alpha1.ReasonPlacementNotFound, "there is no Placement \"nowhere\" in namespace \"team-a\""),
		Condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonFetchFailed, "https://git.example.com/fleet.git: repository not found"),
	}
	return pkg
}

func source(path string) v1alpha1.Source {
	return v1alpha1.Source{Git: &v1alpha1.GitSource{
		URL: "https://git.example.com/fleet.git", Ref: "main", Path: path, PollInterval: &metav1.Duration{Duration: time.Minute},
	}}
}

// Shops is the placement of the package Shop.
func Shops() *v1alpha1.Placement {
	return &v1alpha1.Placement{
		ObjectMeta: meta("default", "shops"),
		Spec: v1alpha1.PlacementSpec{ClusterSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "env", Operator: metav1.LabelSelectorOpIn, Values: []string{"prod", "dev"}},
		}}},
		Status: v1alpha1.PlacementStatus{
			ObservedGeneration: 1,
			Conditions: []metav1.Condition{
				Condition(v1alpha1.ConditionDecided, metav1.ConditionTrue, v1alpha1.ReasonDecided, "selects 3 of 4 clusters"),
				Condition(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonDecided, "selects 3 of 4 clusters"),
			},
			Selected: 3,
			Clusters: []v1alpha1.ClusterName{"dev", "prod-eu", "prod-us"},
		},
	}
}

// ShopRelease is what the package Shop has rendered.
func ShopRelease() *v1alpha1.Release {
	return &v1alpha1.Release{
		ObjectMeta: meta("default", Release),
		Spec: v1alpha1.ReleaseSpec{
			PackageRef: v1alpha1.LocalReference{Name: "shop"},
			Source:     source("apps/shop"),
			Revision:   Revision,
			Repository: "packages/default.shop",
			Variables:  []string{"cluster.labels.env"},
			Variants: []v1alpha1.Variant{
				{Values: []string{"prod"}, Digest: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", Size: 2048, Objects: 4},
				{Values: []string{"dev"}, Digest: "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9", Size: 1536, Objects: 3},
			},
		},
	}
}
