package facts

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/store"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func cluster(name string, status metav1.ConditionStatus, reason string) v1alpha1.MemberCluster {
	c := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	c.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionConnected, Status: status, Reason: reason}, {Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue},
	}
	return c
}

func TestFacts(t *testing.T) {
	well := cluster("well", metav1.ConditionTrue, v1alpha1.ReasonProbeAnswered)
	well.Status.Properties = []v1alpha1.MemberProperty{{Name: v1alpha1.CertificateProperty, Value: "2026-12-01T00:00:00Z CA"}}
	well.Status.Packages = []v1alpha1.MemberPackage{{
		Package: "shop/web", Failures: []v1alpha1.ObjectFailure{{Object: "Deployment.apps web/web"}}, Drifts: []v1alpha1.Drift{{Object: "Deployment.apps web/web", Action: v1alpha1.DriftFought}},
	}}
	pkg := v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}}
	pkg.Status.Clusters = v1alpha1.ClusterCounts{Ready: 3, Progressing: 2, Failing: 1, Unknown: 4}
	rollout := func(name, reason string) v1alpha1.Rollout {
		r := v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
		r.Spec.PackageRef.Name = "web"
		r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionProgressing, Status: metav1.ConditionFalse, Reason: reason, LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))}}
		return r
	}
	seen := Seen{
		Clusters: []v1alpha1.MemberCluster{
			well, cluster("silent", metav1.ConditionUnknown, v1alpha1.ReasonProbeTimeout), cluster("asleep", metav1.ConditionFalse, v1alpha1.ReasonHibernated),
			cluster("waited-for", metav1.ConditionFalse, v1alpha1.ReasonAwaitingAgent), {ObjectMeta: metav1.ObjectMeta{Name: "new"}},
		},
		Packages: []v1alpha1.Package{pkg}, Rollouts: []v1alpha1.Rollout{rollout("web-3", v1alpha1.ReasonHalted), rollout("web-2", v1alpha1.ReasonBaking), rollout("web-1", v1alpha1.ReasonPaused)},
	}
	var got []string
	for _, f := range Of(seen, noon) {
		got = append(got, fmt.Sprintf("%s %v", f.Labels, f.Value))
		if name := f.Labels.Get("__name__"); !store.Reserved(name) {
			t.Errorf("an agent could send %s", name)
		}
	}
	want := []string{
		`{__name__="umbel_cluster_connected", cluster="well"} 1`, `{__name__="umbel_cluster_ready", cluster="well"} 1`,
		`{__name__="umbel_cluster_certificate_end_seconds", cluster="well", of="CA"} 1.7960832e+09`,
		`{__name__="umbel_package_drift_fights", cluster="well", namespace="shop", package="web"} 1`,
		`{__name__="umbel_cluster_connected", cluster="silent"} 0`, `{__name__="umbel_cluster_ready", cluster="silent"} 0`,
		`{__name__="umbel_package_clusters", namespace="shop", package="web", state="ready"} 3`, `{__name__="umbel_package_clusters", namespace="shop", package="web", state="progressing"} 2`,
		`{__name__="umbel_package_clusters", namespace="shop", package="web", state="failing"} 1`, `{__name__="umbel_package_clusters", namespace="shop", package="web", state="unknown"} 4`,
		`{__name__="umbel_package_clusters", namespace="shop", package="web", state="removing"} 0`,
		`{__name__="umbel_rollout_stuck", about="web", level="Failing", namespace="shop", reason="Halted", rollout="web-3"} 1`,
		`{__name__="umbel_rollout_stuck", about="web", level="Waiting", namespace="shop", reason="Paused", rollout="web-1"} 1`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}
