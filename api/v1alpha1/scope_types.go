package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

const (
	// ScopeLabel stands on everything that follows from a Scope, on the hub and on members. Its value is the Scope's name.
	ScopeLabel = "umbel.dev/scope"

	// ForceDeleteAnnotation, set to "true" on a Scope that is being deleted, lets it go before every member has let go.
	// The Package that it made still waits for those, so that nothing is forgotten.
	ForceDeleteAnnotation = "umbel.dev/force-delete"

	// MaxScopeName is how long the name of a Scope may be: as the rule at Scope says.
	MaxScopeName = 57

	// EveryNamespace alone in a Scope's namespaces stands for all of them, and for what lives in none.
	EveryNamespace = "*"
)

// Scope gives people, and ServiceAccounts of the clusters, a role in namespaces of the clusters that a selector names, and lets
// the people through the hub to those clusters.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=scp,categories=umbel
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 57",message="the name of a Scope is a DNS label: lower case letters, digits and '-', at most 57 characters"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.role`
// +kubebuilder:printcolumn:name="Clusters",type=string,JSONPath=`.status.clusters.summary`
// +kubebuilder:printcolumn:name="Namespaces",type=string,JSONPath=`.spec.namespaces`
// +kubebuilder:printcolumn:name="Users",type=string,JSONPath=`.spec.users`,priority=1
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=`.spec.groups`,priority=1
// +kubebuilder:printcolumn:name="ServiceAccounts",type=string,JSONPath=`.spec.serviceAccounts`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Scope struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec says who gets which role, and where.
	Spec ScopeSpec `json:"spec"`
	// status says how far that is.
	// +optional
	Status ScopeStatus `json:"status,omitempty"`
}

// ScopeSpec says who gets which role, and where.
// +kubebuilder:validation:XValidation:rule="(has(self.users) && size(self.users) > 0) || (has(self.groups) && size(self.groups) > 0) || (has(self.serviceAccounts) && size(self.serviceAccounts) > 0)",message="users, groups and serviceAccounts are all empty: name at least one of them"
type ScopeSpec struct {
	// users are people, and programs, by the names that the hub knows them by. A ServiceAccount of the hub is
	// system:serviceaccount:NAMESPACE:NAME.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!('system:anonymous' in self)",message="system:anonymous is whoever says nothing of himself: name people"
	// +optional
	Users []string `json:"users,omitempty"`
	// groups are groups that the hub knows.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="!('system:authenticated' in self) && !('system:unauthenticated' in self)",message="system:authenticated and system:unauthenticated have every program of a cluster in them: name groups of people"
	// +optional
	Groups []string `json:"groups,omitempty"`
	// serviceAccounts are ServiceAccounts of the clusters, as NAMESPACE/NAME, such as one that a team's Packages act as. They
	// need not be there, and come through the hub to no cluster.
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?$')",message="a ServiceAccount of the clusters is NAMESPACE/NAME"
	// +optional
	ServiceAccounts []string `json:"serviceAccounts,omitempty"`

	// role is the name of a ClusterRole of the clusters: view, edit, admin, or one of your own.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.contains('/') && !self.contains('%') && self != '.' && self != '..'",message="role is the name of a ClusterRole: it has no '/' and no '%' in it"
	Role string `json:"role"`

	// clusterSelector selects MemberClusters by label. It has to be given; an empty one ({}) selects every cluster.
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",message="matchExpressions: operator is one of In, NotIn, Exists and DoesNotExist"
	ClusterSelector metav1.LabelSelector `json:"clusterSelector"`

	// namespaces are where the role holds, or "*" alone for every namespace and for what lives in none. Where a cluster has
	// no such namespace it says so, and catches up when it has.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a namespace is a DNS label (lower case letters, digits and '-'), or '*' for all of them"
	// +kubebuilder:validation:XValidation:rule="!('*' in self) || size(self) == 1",message="'*' stands for every namespace: it stands alone"
	Namespaces []string `json:"namespaces"`
}

// ScopeStatus says how far a Scope is.
type ScopeStatus struct {
	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Placed, Reachable, Delivered, and Ready computed from them.
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// package is the Package, as NAMESPACE/NAME, by which the clusters get their bindings. Its Placement has the same name.
	// +optional
	Package PackageKey `json:"package,omitempty"`
	// clusters counts the selected clusters by state, as that Package does.
	// +optional
	Clusters ClusterCounts `json:"clusters,omitempty"`
}

// ScopeList is a list of Scopes.
// +kubebuilder:object:root=true
type ScopeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Scope `json:"items"`
}

// ScopePackage is the name of the Package and of the Placement that a Scope has in SystemNamespace.
func ScopePackage(scope string) string { return "scope-" + scope }
