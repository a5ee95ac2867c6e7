package v1alpha1

// TakenAnnotation on the ClusterClass local says which ranges of addresses are taken on the hub's machine by what no Cluster has: a JSON list of
// TakenRange. The provider local writes it.
const TakenAnnotation = "infrastructure.umbel.dev/taken-ranges"

// TakenRange is a range of addresses that somebody has.
//
// +kubebuilder:object:generate=false
type TakenRange struct {
	// Range is a CIDR.
	Range string `json:"range"`
	// Of says whose it is, for people: the pods of cluster "edge".
	Of string `json:"of"`
	// Services says that it is one of Services, which are seen inside of a cluster only.
	Services bool `json:"services,omitempty"`
}
