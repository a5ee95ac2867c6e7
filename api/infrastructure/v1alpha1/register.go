package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every kind in this package.
var GroupVersion = schema.GroupVersion{Group: "infrastructure.umbel.dev", Version: "v1alpha1"}

// HostedControlPlaneKind is that of control planes on the hub's machine, for whoever reads of them what another object refers to.
var HostedControlPlaneKind = GroupVersion.WithKind("HostedControlPlane")

// AddToScheme registers the kinds of this package with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&HostedCluster{}, &HostedClusterList{}, &HostedClusterTemplate{}, &HostedClusterTemplateList{},
		&HostedControlPlane{}, &HostedControlPlaneList{}, &HostedControlPlaneTemplate{}, &HostedControlPlaneTemplateList{},
		&LocalMachine{}, &LocalMachineList{}, &LocalMachineTemplate{}, &LocalMachineTemplateList{},
		&LocalBootstrap{}, &LocalBootstrapList{}, &LocalBootstrapTemplate{}, &LocalBootstrapTemplateList{},
		&ClusterBackup{}, &ClusterBackupList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
