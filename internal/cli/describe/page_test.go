package describe

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

func TestPage(t *testing.T) {
	clusters := clitest.Clusters()
	aboutShop := func(moment view.Moment) *packageDossier {
		d := &packageDossier{Package: clitest.Shop(), Placement: clitest.Shops(), Hub: hubStateOf(moment)}
		d.Clusters = moment.States(view.Fleet{Package: d.Package, Placement: d.Placement, Clusters: clusters})
		d.Events = []event{
			{Time: clitest.Ago(26 * time.Hour), Type: "Normal", Reason: "Released", Message: "Released shop-1a2b3c4d from 4f0c2a9e7b1d", Count: 1},
			{Time: clitest.Ago(time.Hour), Type: "Warning", Reason: "ClustersFailing", Message: "dev fails", Count: 3},
		}
		return d
	}
	undecided := clitest.Shops()
	undecided.Status.Conditions[0] = clitest.Condition(v1alpha1.ConditionDecided, metav1.ConditionFalse, v1alpha1.ReasonInvalidSelector,
		"spec.clusterSelector.matchExpressions[0].operator: \"Near\" is not a valid selector operator")
	pending := clitest.Clusters()[1]
	pending.Name, pending.Annotations = "edge-1", map[string]string{v1alpha1.RegisteredWithAnnotation: "edge"}
	pending.Spec.Admission = v1alpha1.AdmissionPending
	pending.Status.Identity = &v1alpha1.MemberIdentity{KeyFingerprint: strings.Repeat("ab", 32)}
	for i := range pending.Status.Conditions {
		pending.Status.Conditions[i].Reason, pending.Status.Conditions[i].Message = v1alpha1.ReasonPendingApproval, "the cluster waits for approval"
	}
	unplaced := clitest.Shop()
	unplaced.Status.Release = ""
	for reason, kind := range map[string]string{
		v1alpha1.ReasonPlacementNotFound: v1alpha1.ConditionPlaced, v1alpha1.ReasonKeysInvalid: v1alpha1.ConditionVerified, v1alpha1.ReasonPlanRequired: v1alpha1.ConditionPlanned,
		v1alpha1.ReasonWaiting: v1alpha1.ConditionDependencies,
	} {
		meta.SetStatusCondition(&unplaced.Status.Conditions, clitest.Condition(kind, metav1.ConditionFalse, reason, "it is so"))
	}
	meta.FindStatusCondition(unplaced.Status.Conditions, v1alpha1.ConditionPlanned).Message += ": " + v1alpha1.SavePlan("default/shop", "shop-99887766")
	meta.SetStatusCondition(&unplaced.Status.Conditions, clitest.Condition(v1alpha1.ConditionDelivered, metav1.ConditionUnknown, v1alpha1.ReasonPlacementNotFound, "without a placement nobody can say"))
	slices.SortFunc(unplaced.Status.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	cases := []struct {
		reason string
		golden string
		about  dossier
		moment view.Moment
		wide   bool
		width  int
	}{
		{reason: "a package on clusters in every state", golden: "package.txt", about: aboutShop(clitest.Alive()), moment: clitest.Alive()},
		{reason: "a terminal of 80 columns breaks texts between words", golden: "package-narrow.txt", about: aboutShop(clitest.Alive()), moment: clitest.Alive(), width: 80},
		{reason: "wide adds when clusters were seen, and digests", golden: "package-wide.txt", about: aboutShop(clitest.Alive()), moment: clitest.Alive(), wide: true},
		{reason: "a silent hub knows no state", golden: "package-silent-hub.txt", about: aboutShop(clitest.Silent()), moment: clitest.Silent()},
		{reason: "a source that cannot be fetched says what to try", golden: "package-broken.txt", about: &packageDossier{Package: clitest.Broken()}, moment: clitest.Alive()},
		{reason: "no node takes a pod", golden: "package-pending.txt", moment: clitest.Alive(), about: &packageDossier{Package: clitest.Shop(), Clusters: []view.ClusterState{{
			Cluster: "dev", State: view.Progressing, Message: "1 of 4 objects is not healthy yet: Deployment.apps shop/web: pod web-abc: 0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
		}}}},
		{reason: "each step is told once", golden: "package-steps.txt", about: &packageDossier{Package: unplaced}, moment: clitest.Alive()},
		{reason: "a cluster as it should be, with its last repair", golden: "cluster.txt", about: &clusterDossier{Cluster: &clusters[2]}, moment: clitest.Alive()},
		{reason: "a cluster that is cut off", golden: "cluster-unknown.txt", about: &clusterDossier{Cluster: &clusters[3]}, moment: clitest.Alive()},
		{reason: "a cluster that fails", golden: "cluster-failing.txt", about: &clusterDossier{Cluster: &clusters[0]}, moment: clitest.Alive(), wide: true},
		{reason: "a cluster that waits for approval", golden: "cluster-pending.txt", about: &clusterDossier{Cluster: &pending}, moment: clitest.Alive()},
		{reason: "a cluster whose agent never came", golden: "cluster-awaiting.txt", about: &clusterDossier{Cluster: &clusters[1]}, moment: clitest.Alive()},
		{reason: "a cluster whose nodes take no pods", golden: "cluster-nodes.txt", about: &clusterDossier{Cluster: &clusters[2], Nodes: pressedNodes()}, moment: clitest.Alive()},
		{
			reason: "a placement with its clusters and packages", golden: "placement.txt", moment: clitest.Alive(),
			about: &placementDossier{Placement: clitest.Shops(), Clusters: []v1alpha1.MemberCluster{clusters[0], clusters[2], clusters[3]}, Packages: []string{"shop"}},
		},
		{reason: "a selector that cannot be read", golden: "placement-undecided.txt", about: &placementDossier{Placement: undecided}, moment: clitest.Alive()},
		{
			reason: "a release with its variants", golden: "release.txt", moment: clitest.Alive(),
			about: &releaseDossier{Release: clitest.ShopRelease(), Current: true, Clusters: []v1alpha1.ClusterName{"prod-eu", "prod-us"}},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			p := &page{wide: c.wide, width: c.width}
			c.about.write(p, c.moment)
			var out bytes.Buffer
			if err := p.flush(&out); err != nil {
				t.Fatal(err)
			}
			clitest.Golden(t, c.golden, out.String())
		})
	}
}

// pressedNodes are a node that is well, one that is full and cordoned, one that is silent, and one that has never spoken.
func pressedNodes() *nodeState {
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Message: message, LastTransitionTime: clitest.Ago(20 * time.Minute)}
	}
	state := &nodeState{}
	for _, node := range []corev1.Node{
		{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "enough"), condition(corev1.NodeReady, corev1.ConditionTrue, "posting")}}},
		{
			Spec: corev1.NodeSpec{Unschedulable: true},
			Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
				condition(corev1.NodePIDPressure, corev1.ConditionTrue, "kubelet has insufficient PID available"), condition(corev1.NodeReady, corev1.ConditionTrue, "posting"),
			}},
		},
		{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{condition(corev1.NodeReady, corev1.ConditionUnknown, "Kubelet stopped posting node status.")}}},
		{},
	} {
		node.Name = fmt.Sprintf("n-%d", state.Nodes+1)
		state.add(&node)
	}
	return state
}

func TestStructuredForm(t *testing.T) {
	moment := clitest.Alive()
	about := &packageDossier{Package: clitest.Shop(), Hub: hubStateOf(moment)}
	about.Clusters = moment.States(view.Fleet{Package: about.Package, Placement: clitest.Shops(), Clusters: clitest.Clusters()})
	var out bytes.Buffer
	if err := output.Encode(&out, output.YAML, about); err != nil {
		t.Fatal(err)
	}
	clitest.Golden(t, "package.yaml", out.String())
}
