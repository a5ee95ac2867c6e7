package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	bootstrapadmission "sigs.k8s.io/cluster-api/bootstrap/kubeadm/webhooks/admission"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	controlplaneadmission "sigs.k8s.io/cluster-api/controlplane/kubeadm/webhooks/admission"
	controlplaneconversion "sigs.k8s.io/cluster-api/controlplane/kubeadm/webhooks/conversion"
	coreadmission "sigs.k8s.io/cluster-api/core/webhooks/admission"
	coreconversion "sigs.k8s.io/cluster-api/core/webhooks/conversion"
	"sigs.k8s.io/cluster-api/util/contract"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// addWebhooks adds those that fill in defaults, that refuse, and that convert between versions.
func addWebhooks(m ctrl.Manager, clusters clustercache.ClusterCache) error {
	c := m.GetClient()
	versionOf := func(ctx context.Context, kind schema.GroupKind) (string, error) { return apiVersion(ctx, c, kind) }
	coreconversion.SetAPIVersionGetter(versionOf)
	controlplaneconversion.SetAPIVersionGetter(versionOf)
	for _, hook := range []interface{ SetupWebhookWithManager(ctrl.Manager) error }{
		&coreadmission.ClusterClass{Client: c},
		&coreadmission.Cluster{Client: c, ClusterCacheReader: clusters},
		&coreadmission.Machine{}, &coreadmission.MachineSet{}, &coreadmission.MachineDeployment{}, &coreadmission.MachineDrainRule{},
		&coreadmission.MachinePool{}, &coreadmission.MachineHealthCheck{},
		&coreadmission.ClusterResourceSet{}, &coreadmission.ClusterResourceSetBinding{}, &coreadmission.ExtensionConfig{},
		&coreadmission.IPAddress{Client: m.GetAPIReader()}, &coreadmission.IPAddressClaim{},
		&controlplaneadmission.KubeadmControlPlane{}, &controlplaneadmission.ScaleValidator{Client: c}, &controlplaneadmission.KubeadmControlPlaneTemplate{},
		&bootstrapadmission.KubeadmConfig{}, &bootstrapadmission.KubeadmConfigTemplate{},
	} {
		if err := hook.SetupWebhookWithManager(m); err != nil {
			return fmt.Errorf("adding the webhook %T: %w", hook, err)
		}
	}
	return nil
}

// contracts between Cluster API and providers that this version keeps, the newer first.
var contracts = []string{"cluster.x-k8s.io/v1beta2", "cluster.x-k8s.io/v1beta1"}

// apiVersion returns in which version a kind of a provider is to be referred to: its CRD says which versions keep which
// contract. Objects of v1beta1 name a version, those of v1beta2 do not.
func apiVersion(ctx context.Context, c client.Reader, kind schema.GroupKind) (string, error) {
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition"))
	if err := c.Get(ctx, client.ObjectKey{Name: contract.CalculateCRDName(kind.Group, kind.Kind)}, crd); err != nil {
		return "", fmt.Errorf("looking for the versions of %s: %w", kind, err)
	}
	for _, label := range contracts {
		if versions := crd.Labels[label]; versions != "" {
			newest := slices.MaxFunc(strings.Split(versions, "_"), version.CompareKubeAwareVersionStrings)
			return schema.GroupVersion{Group: kind.Group, Version: newest}.String(), nil
		}
	}
	return "", fmt.Errorf("the CustomResourceDefinition %s says in no label which versions keep the contract of Cluster API (%s)",
		crd.Name, strings.Join(contracts, ", "))
}
