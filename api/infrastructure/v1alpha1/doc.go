// Package v1alpha1 is the vocabulary of Umbel's own provider of Cluster API: the kinds of the API group
// infrastructure.umbel.dev, as Cluster API's contract v1beta2 wants them. They make clusters on the hub's machine.
//
// People hardly ever write them: a ClusterClass names the templates, and Cluster API makes the rest of a Cluster. The kinds are
// in the hub's API for as long as there is the Provider local.
//
// Who writes what:
//
//	HostedCluster, HostedControlPlane, LocalMachine, LocalBootstrap   Cluster API, from the templates of a ClusterClass
//	their status, LocalMachine.spec.providerID,
//	HostedControlPlane.spec.controlPlaneEndpoint                      the provider alone (internal/lifecycle/hosted)
//
// Templates never change, as the contract has it; a policy of the hub's API sees to it (deploy/policies).
//
// +kubebuilder:object:generate=true
// +groupName=infrastructure.umbel.dev
package v1alpha1
