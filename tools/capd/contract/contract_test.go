// Package contract has the framework by which Cluster API tests its own providers look at a cluster of Umbel's. It is a program of its own,
// which the story of clusters (test/e2e) runs on what it has made: KUBECONFIG is that of the hub, CLUSTER the name of a Cluster in the
// namespace default, at rest, whose machines are in pools.
//
// What it does to the cluster is upstream's: it pauses it, takes all owners of all its objects away, and then all finalizers, and wants each
// of them back when it goes on.
package contract

import (
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/controllers/external"
	"sigs.k8s.io/cluster-api/test/framework"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	namespace  = metav1.NamespaceDefault
	ours       = "infrastructure.umbel.dev"
	classes    = "umbel-system"
	finalizer  = ours + "/provider"
	membership = "umbel.dev/member"
)

func TestContract(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Cluster API's own checks")
}

var _ = Describe("a cluster of Umbel's own provider", Ordered, func() {
	name := os.Getenv("CLUSTER")
	var hub framework.ClusterProxy

	BeforeAll(func(ctx SpecContext) {
		scheme := runtime.NewScheme()
		for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, clusterv1.AddToScheme, apiextensionsv1.AddToScheme} {
			Expect(add(scheme)).To(Succeed())
		}
		hub = framework.NewClusterProxy("hub", os.Getenv("KUBECONFIG"), scheme)
		label(ctx, hub.GetClient())
	})

	It("is found by what the kinds say of the contract", func(ctx SpecContext) {
		Eventually(func(g Gomega) { // a machine that does not answer in time is not ready for a moment
			references(ctx, g, hub.GetClient(), name)
		}).WithTimeout(3 * time.Minute).WithPolling(time.Second).Should(Succeed())
	})
	It("is at rest", func(ctx SpecContext) {
		framework.ValidateResourceVersionStable(ctx, framework.ValidateResourceVersionStableInput{
			ClusterProxy: hub, Namespace: namespace, OwnerGraphFilterFunction: concerns,
			WaitToBecomeStable: []any{"3m", "2s"}, WaitToRemainStable: []any{"10s", "2s"},
		})
	})
	It("has its owners again", func(ctx SpecContext) {
		framework.ValidateOwnerReferencesResilience(ctx, hub, namespace, name, concerns, framework.CoreOwnerReferenceAssertion, owners)
		framework.AssertOwnerReferences(classes, hub.GetKubeconfigPath(), template, framework.CoreOwnerReferenceAssertion, templates)
	})
	It("has its finalizers again", func(ctx SpecContext) {
		framework.ValidateFinalizersResilience(ctx, hub, namespace, name, concerns, finalizers())
	})
})

// label marks the kinds as clusterctl does when it installs a provider: the framework finds objects by that.
func label(ctx SpecContext, c client.Client) {
	all := &apiextensionsv1.CustomResourceDefinitionList{}
	Expect(c.List(ctx, all)).To(Succeed())
	labelled := 0
	for i := range all.Items {
		crd := &all.Items[i]
		if group := crd.Spec.Group; group != ours && !strings.HasSuffix(group, "cluster.x-k8s.io") || crd.Spec.Names.Kind == "ClusterBackup" {
			continue // a backup outlives its cluster, and is none of the contract's
		}
		before := crd.DeepCopy()
		metav1.SetMetaDataLabel(&crd.ObjectMeta, clusterctlv1.ClusterctlLabel, "")
		Expect(c.Patch(ctx, crd, client.MergeFrom(before))).To(Succeed())
		if crd.Spec.Group == ours {
			labelled++
		}
	}
	Expect(labelled).To(Equal(8), "the kinds of the provider")
}

// references follows each reference to an object of ours as Cluster API does, by the label of its kind that names the version of the contract;
// what is found says how it is in conditions that Cluster API can read.
func references(ctx SpecContext, g Gomega, c client.Client, name string) {
	cluster := &clusterv1.Cluster{}
	g.Expect(c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, cluster)).To(Succeed())
	found := map[clusterv1.ContractVersionedObjectReference]string{
		cluster.Spec.InfrastructureRef: clusterv1.ReadyCondition,
		cluster.Spec.ControlPlaneRef:   clusterv1.AvailableCondition,
	}
	machines := &clusterv1.MachineList{}
	g.Expect(c.List(ctx, machines, client.InNamespace(namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: name})).To(Succeed())
	g.Expect(machines.Items).NotTo(BeEmpty())
	for _, m := range machines.Items {
		found[m.Spec.InfrastructureRef] = clusterv1.ReadyCondition
		found[m.Spec.Bootstrap.ConfigRef] = clusterv1.ReadyCondition
		for _, condition := range []string{clusterv1.MachineInfrastructureReadyCondition, clusterv1.MachineBootstrapConfigReadyCondition, clusterv1.MachineAvailableCondition} {
			g.Expect(conditions.IsTrue(&m, condition)).To(BeTrue(), "%s of Machine %s: %s", condition, m.Name, conditions.GetMessage(&m, condition))
		}
	}
	for ref, condition := range found {
		object, err := external.GetObjectFromContractVersionedRef(ctx, c, ref, namespace)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(object.GroupVersionKind().Group).To(Equal(ours))
		g.Expect(object.GetLabels()).To(HaveKeyWithValue(clusterv1.ClusterNameLabel, name))
		said, err := conditions.UnstructuredGet(object, condition)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(said).NotTo(BeNil(), "%s of %s %s", condition, ref.Kind, ref.Name)
		g.Expect(said.Status).To(Equal(metav1.ConditionTrue), "%s of %s %s: %s", condition, ref.Kind, ref.Name, said.Message)
		paused, err := conditions.UnstructuredGet(object, clusterv1.PausedCondition)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(paused).NotTo(BeNil(), "Paused of %s %s", ref.Kind, ref.Name)
		g.Expect(paused.Status).To(Equal(metav1.ConditionFalse), "Paused of %s %s", ref.Kind, ref.Name)
	}
}

// concerns leaves out what is in the namespace and none of a cluster's.
func concerns(o unstructured.Unstructured) bool {
	_, of := o.GetLabels()[clusterv1.ClusterNameLabel]
	return o.GetKind() != "ConfigMap" && (o.GetKind() != "Secret" || of)
}

// template leaves out what is none of a class's.
func template(o unstructured.Unstructured) bool {
	return o.GetNamespace() == classes && (o.GetKind() == "ClusterClass" || strings.HasSuffix(o.GetKind(), "Template"))
}

type ownersOf = map[string]func(types.NamespacedName, []metav1.OwnerReference) error

// owners are those of what there is of a cluster: as upstream's provider for development has them for its own, which its documentation of owner
// references says that others are to have too.
var owners = ownersOf{
	"HostedCluster":          exactly(controller("Cluster", clusterv1.GroupVersion.String())),
	"HostedControlPlane":     exactly(controller("Cluster", clusterv1.GroupVersion.String())),
	"LocalMachine":           exactly(controller("Machine", clusterv1.GroupVersion.String())),
	"LocalBootstrap":         exactly(controller("Machine", clusterv1.GroupVersion.String())),
	"LocalMachineTemplate":   exactly(metav1.OwnerReference{Kind: "Cluster", APIVersion: clusterv1.GroupVersion.String()}),
	"LocalBootstrapTemplate": exactly(metav1.OwnerReference{Kind: "Cluster", APIVersion: clusterv1.GroupVersion.String()}),
	"Secret": func(name types.NamespacedName, refs []metav1.OwnerReference) error {
		kind := "LocalBootstrap"
		if strings.HasSuffix(name.Name, "-kubeconfig") {
			kind = "HostedControlPlane"
		}
		return framework.HasExactOwners(refs, controller(kind, ours+"/v1alpha1"))
	},
}

// templates are those of the class: each has it as its owner.
var templates = ownersOf{
	"HostedClusterTemplate":      exactly(class),
	"HostedControlPlaneTemplate": exactly(class),
	"LocalMachineTemplate":       exactly(class),
	"LocalBootstrapTemplate":     exactly(class),
}

var class = metav1.OwnerReference{Kind: "ClusterClass", APIVersion: clusterv1.GroupVersion.String()}

func controller(kind, version string) metav1.OwnerReference {
	is := true
	return metav1.OwnerReference{Kind: kind, APIVersion: version, Controller: &is}
}

func exactly(wanted metav1.OwnerReference) func(types.NamespacedName, []metav1.OwnerReference) error {
	return func(_ types.NamespacedName, refs []metav1.OwnerReference) error {
		return framework.HasExactOwners(refs, wanted)
	}
}

// finalizers are upstream's on what is upstream's, and ours. That of the fleet is on a Cluster that became a member by itself.
func finalizers() map[string]func(types.NamespacedName) []string {
	all := map[string]func(types.NamespacedName) []string{}
	for kind, of := range framework.CoreFinalizersAssertionWithClassyClusters {
		all[kind] = of
	}
	all["Cluster"] = func(types.NamespacedName) []string { return []string{clusterv1.ClusterFinalizer, membership} }
	for _, kind := range []string{"HostedCluster", "HostedControlPlane", "LocalMachine"} {
		all[kind] = func(types.NamespacedName) []string { return []string{finalizer} }
	}
	return all
}
