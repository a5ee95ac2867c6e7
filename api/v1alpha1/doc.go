// Package v1alpha1 is the vocabulary of Umbel: the kinds of the API group umbel.dev that people write and that
// every room of the code reads and writes.
//
// It holds types, the names of conditions and reasons, labels and annotations, and nothing that acts. It imports
// apimachinery only, so that other programs can use it without drawing in Umbel. Deep copies, CRDs and their
// validation are generated from the markers in these files (`make generate`).
//
// Who writes what:
//
//	MemberCluster.spec, labels   people, `umbel join`, `umbel label`; the gateway creates that of a cluster that registers itself
//	MemberCluster.status         the gateway alone, from what agents say
//	Placement.spec               people
//	Placement.status             the placement controller alone
//	Package.spec                 people
//	Package.status               the delivery controller alone
//	Scope.spec                   people
//	Scope.status                 the scope controller alone
//	Release                      the delivery controller creates it once; nobody changes it
//
// +kubebuilder:object:generate=true
// +groupName=umbel.dev
package v1alpha1
