package decide

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/delivery/variable"
)

// Cluster is what a decision needs to know of a cluster.
type Cluster struct {
	Name   v1alpha1.ClusterName
	Labels map[string]string
	// Properties are what it says of itself.
	Properties map[string]string
	// Leaving: the MemberCluster is being deleted.
	Leaving bool
	// Observed: nothing is written there.
	Observed bool
}

// Frozen says whether it keeps what it holds, whatever is decided.
func (c Cluster) Frozen() bool { return c.Leaving || c.Observed }

// ClusterOf returns what a decision needs to know of a member.
func ClusterOf(member *v1alpha1.MemberCluster) Cluster {
	return Cluster{
		Name: v1alpha1.ClusterName(member.Name), Labels: member.Labels, Properties: propertiesOf(member),
		Leaving: !member.DeletionTimestamp.IsZero(), Observed: member.Spec.Observed(),
	}
}

func propertiesOf(member *v1alpha1.MemberCluster) map[string]string {
	if len(member.Status.Properties) == 0 {
		return nil
	}
	properties := make(map[string]string, len(member.Status.Properties))
	for _, p := range member.Status.Properties {
		properties[p.Name] = p.Value
	}
	return properties
}

// Facts are what variables are made of.
func (c Cluster) Facts() variable.Cluster {
	return variable.Cluster{Name: c.Name, Labels: c.Labels, Properties: c.Properties}
}

// Member is a cluster and what is known of a Package there.
type Member struct {
	Cluster
	// Connected: probes come back from it.
	Connected bool
	// Agent is the version of its agent, empty as long as none has said anything; Features are what that one knows of.
	Agent    string
	Features []string
	// Holds is what its status lists of the Package; nil when it surely does not hold it.
	Holds *v1alpha1.MemberPackage
}

// MembersOf returns the clusters as far as a Package is concerned.
func MembersOf(clusters []v1alpha1.MemberCluster, key v1alpha1.PackageKey) []Member {
	members := make([]Member, len(clusters))
	for i := range clusters {
		members[i] = memberOf(&clusters[i], holding(&clusters[i], key))
	}
	return members
}

// Concerned returns those of some clusters that have to do with a Package: that say that they hold it, or that its Placement selects.
func (s *Seen) Concerned(clusters []v1alpha1.MemberCluster, key v1alpha1.PackageKey) (members []Member) {
	for i := range clusters {
		holds := holding(&clusters[i], key)
		if holds != nil || s.Selects(v1alpha1.ClusterName(clusters[i].Name)) {
			members = append(members, memberOf(&clusters[i], holds)) // of a few of thousands
		}
	}
	return members
}

func memberOf(cluster *v1alpha1.MemberCluster, holds *v1alpha1.MemberPackage) Member {
	return Member{
		Cluster:   ClusterOf(cluster),
		Agent:     cluster.Status.AgentVersion,
		Features:  cluster.Status.AgentFeatures,
		Connected: meta.IsStatusConditionTrue(cluster.Status.Conditions, v1alpha1.ConditionConnected),
		Holds:     holds,
	}
}

// holding returns what a cluster says of a Package. Its list is in the order of the names.
func holding(cluster *v1alpha1.MemberCluster, key v1alpha1.PackageKey) *v1alpha1.MemberPackage {
	packages := cluster.Status.Packages
	byKey := func(p v1alpha1.MemberPackage, key v1alpha1.PackageKey) int {
		return strings.Compare(string(p.Package), string(key))
	}
	if i, found := slices.BinarySearchFunc(packages, key, byKey); found {
		return &packages[i]
	}
	// Not every writer may keep the order, and "it holds nothing" is not to be said by mistake.
	if i := slices.IndexFunc(packages, func(p v1alpha1.MemberPackage) bool { return p.Package == key }); i >= 0 {
		return &packages[i]
	}
	return nil
}

// MaxNames is how many clusters, or other things, one message names.
const MaxNames = 5

// Names lists a few sorted names and counts the others.
func Names(clusters []v1alpha1.ClusterName) string {
	var text []string
	for _, name := range clusters[:min(len(clusters), MaxNames)] {
		text = append(text, string(name))
	}
	list := strings.Join(text, ", ")
	if more := len(clusters) - MaxNames; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}
