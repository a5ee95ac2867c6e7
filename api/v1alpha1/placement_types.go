package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Placement names clusters by their labels and by what they are. Packages refer to it; several may share one.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=pl,categories=umbel
// +kubebuilder:printcolumn:name="Selected",type=integer,JSONPath=`.status.selected`
// +kubebuilder:printcolumn:name="Wanted",type=integer,JSONPath=`.spec.numberOfClusters`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Placement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says which clusters are meant.
	Spec PlacementSpec `json:"spec"`
	// status says which clusters those are now.
	// +optional
	Status PlacementStatus `json:"status,omitempty"`
}

// PlacementSpec says which clusters are meant: those that meet clusterSelector, every one of fields and every one of
// expressions, and whose taints are tolerated; all of them, or numberOfClusters of them.
// +kubebuilder:validation:XValidation:rule="!has(self.spread) || has(self.numberOfClusters)",message="spread says how numberOfClusters clusters lie: give numberOfClusters as well"
// +kubebuilder:validation:XValidation:rule="!has(self.scores) || size(self.scores) == 0 || has(self.numberOfClusters)",message="scores say which clusters come first when there are seats for numberOfClusters of them: give numberOfClusters as well"
// +kubebuilder:validation:XValidation:rule="!has(self.stay) || !has(self.stay.whenUnreachable) || has(self.numberOfClusters)",message="stay.whenUnreachable says when a seat is given to another cluster: give numberOfClusters as well"
type PlacementSpec struct {
	// clusterSelector selects MemberClusters by label. It has to be given; an empty one ({}) selects every cluster.
	ClusterSelector metav1.LabelSelector `json:"clusterSelector"`
	// fields are what else a cluster has to meet: every one of them.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Fields []FieldRequirement `json:"fields,omitempty"`
	// expressions are in CEL, and a cluster has to make every one of them true. They know cluster.name, cluster.labels and
	// cluster.properties (maps of strings), cluster.version (the Kubernetes version) and cluster.agentVersion, and besides CEL
	// Kubernetes' functions for semver, quantities, regular expressions, lists, IPs and CIDRs. One that errs of a cluster says
	// nothing of it: a cluster that was selected stays so, and one that was not is not.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=4096
	// +optional
	Expressions []string `json:"expressions,omitempty"`
	// tolerations let clusters with taints be selected all the same.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Tolerations []Toleration `json:"tolerations,omitempty"`

	// numberOfClusters is how many clusters are selected at most. Without it all that meet the spec are. A cluster that was
	// chosen keeps its seat as long as it meets the spec, whichever others come.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +optional
	NumberOfClusters *int32 `json:"numberOfClusters,omitempty"`
	// spread says how they lie.
	// +optional
	Spread *Spread `json:"spread,omitempty"`
	// scores say which clusters come first when there are more than seats: those with the greatest sum.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Scores []Score `json:"scores,omitempty"`
	// stay says how long a cluster that is selected stays when that would end by no decision of a person.
	// +optional
	Stay Stay `json:"stay,omitempty"`

	// decisions says whether the selected clusters are shown as PlacementDecision objects of SIG-Multicluster as well, for
	// programs that know those: Published, which is the default, or Withheld.
	// +optional
	Decisions DecisionObjects `json:"decisions,omitempty"`
}

// FieldRequirement is something that a cluster has to meet beside labels.
type FieldRequirement struct {
	// field is name, kubernetesVersion, agentVersion, or properties.NAME.
	// +kubebuilder:validation:MaxLength=264
	// +kubebuilder:validation:XValidation:rule="self in ['name', 'kubernetesVersion', 'agentVersion'] || self.matches('^properties[.].+')",message="field is name, kubernetesVersion, agentVersion, or properties.NAME"
	Field string `json:"field"`
	// operator compares it with values: In and NotIn as in selectors of labels, Exists and DoesNotExist without values,
	// AtLeast and Below with one value, a version for a version and a Kubernetes quantity for a property.
	Operator FieldOperator `json:"operator"`
	// values are what it is compared with.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=1024
	// +optional
	Values []string `json:"values,omitempty"`
}

// FieldOperator compares a field of a cluster with values.
// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist;AtLeast;Below
type FieldOperator string

const (
	// FieldIn and FieldNotIn: the field has one of the values, or none of them.
	FieldIn    FieldOperator = "In"
	FieldNotIn FieldOperator = "NotIn"
	// FieldExists and FieldDoesNotExist: the field is there, or not.
	FieldExists       FieldOperator = "Exists"
	FieldDoesNotExist FieldOperator = "DoesNotExist"
	// FieldAtLeast and FieldBelow: the field is at least the one value, or below it.
	FieldAtLeast FieldOperator = "AtLeast"
	FieldBelow   FieldOperator = "Below"
)

// Spread says how the selected clusters lie. A cluster that lacks the label is not selected.
// +kubebuilder:validation:XValidation:rule="has(self.maxSkew) || has(self.minValues)",message="spread says maxSkew, minValues or both"
type Spread struct {
	// label is the key of the label by whose values clusters are told apart, such as region.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Label string `json:"label"`
	// maxSkew is by how many the selected clusters with one value may outnumber those with any other value that a cluster
	// which could be selected has.
	// +kubebuilder:validation:Minimum=1
	// +optional
	MaxSkew *int32 `json:"maxSkew,omitempty"`
	// minValues is on how many values they lie at least.
	// +kubebuilder:validation:Minimum=2
	// +optional
	MinValues *int32 `json:"minValues,omitempty"`
}

// Score gives each cluster 0 to 100 points, times its weight.
// +kubebuilder:validation:XValidation:rule="has(self.clusterSelector) != has(self.expression)",message="a score is by clusterSelector or by expression"
type Score struct {
	// weight is what the points are multiplied by; a negative one makes clusters come last.
	// +kubebuilder:validation:Minimum=-100
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=1
	// +optional
	Weight int32 `json:"weight"`
	// clusterSelector gives 100 points to the clusters that it selects, and none to others.
	// +optional
	ClusterSelector *metav1.LabelSelector `json:"clusterSelector,omitempty"`
	// expression is in CEL, of what expressions know, and gives the points: a number (less than 0 counts as 0, more than 100
	// as 100), or true for 100. Where it errs there are none.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Expression string `json:"expression,omitempty"`
}

// Stay says how long a cluster that is selected stays when that would end by no decision of a person.
type Stay struct {
	// whenUnfit is for how long after what its agent says of it (versions, properties) ceased to meet the spec. What people
	// say, of a cluster or of a Placement, counts at once. The default is 5m.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="whenUnfit is not negative"
	// +optional
	WhenUnfit *metav1.Duration `json:"whenUnfit,omitempty"`
	// whenUnreachable is for how long after its agent was lost it keeps its seat although a cluster that is connected could
	// take it. Without it, it keeps it for ever, and catches up when it is back.
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('30s')",message="whenUnreachable is at least 30s"
	// +optional
	WhenUnreachable *metav1.Duration `json:"whenUnreachable,omitempty"`
}

// DecisionObjects says whether there are PlacementDecision objects.
// +kubebuilder:validation:Enum=Published;Withheld
type DecisionObjects string

const (
	// DecisionsPublished: each selected cluster is in one of the Placement's PlacementDecisions.
	DecisionsPublished DecisionObjects = "Published"
	// DecisionsWithheld: there are none.
	DecisionsWithheld DecisionObjects = "Withheld"
)

// PlacementStatus says which clusters a Placement selects.
type PlacementStatus struct {
	// observedGeneration is the generation of the spec that clusters was decided from.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Decided, Satisfied where numberOfClusters is given, and Ready computed from them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// selected is the number of clusters.
	// +optional
	Selected int32 `json:"selected"`
	// clusters are the names of the selected MemberClusters, sorted.
	// +listType=set
	// +optional
	Clusters []ClusterName `json:"clusters,omitempty"`
	// leaving are those of them that stay for a while only.
	// +listType=atomic
	// +optional
	Leaving []Leaving `json:"leaving,omitempty"`
	// undecided are the clusters of which it could not be told whether they meet the spec, sorted: they keep what they hold,
	// selected or not.
	// +listType=set
	// +optional
	Undecided []ClusterName `json:"undecided,omitempty"`
}

// Leaving is selected clusters that stay for a while only, all for one reason.
type Leaving struct {
	// clusters are their names, sorted.
	// +listType=atomic
	Clusters []ClusterName `json:"clusters"`
	// since is when that was seen first.
	Since metav1.Time `json:"since"`
	// until is when they are not selected any more, unless they meet the spec again by then.
	Until metav1.Time `json:"until"`
	// because is what they do not meet.
	Because string `json:"because"`
}

// PlacementList is a list of Placements.
// +kubebuilder:object:root=true
type PlacementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Placement `json:"items"`
}
