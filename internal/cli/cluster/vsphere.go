package cluster

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// signInVSphere reads the user by whom a vCenter is reached, and where that is.
func signInVSphere(ctx context.Context, hub kube.Reader, p place) (question, error) {
	const identities = "VSphereClusterIdentity"
	kind, name, namespace := p.at("identityRef", "kind"), p.at("identityRef", "name"), p.namespace
	switch kind {
	case identities:
		identity, err := p.identity(ctx, hub, identities, kube.ObjectKey{Name: name})
		if err != nil {
			return nil, err
		}
		name, namespace = text(identity, "spec", "secretName"), v1alpha1.SystemNamespace
	case "Secret":
	default:
		return nil, fmt.Errorf("its identity is %q, and no %s or Secret: its credentials are not on the hub", kind, identities)
	}
	secret, from, err := secretOf(ctx, hub, namespace, name, "username", "password")
	if err != nil {
		return nil, err
	}
	q := question{"server": p.at("server"), "username": secret[0], "password": secret[1], "from": from}
	if thumbprint := p.at("thumbprint"); thumbprint != "" {
		q["thumbprint"] = thumbprint
	}
	return q, nil
}

// machinesInVSphere reads of what and where the machines of a VSphereMachineTemplate are made. A zone says where in the place of the template.
func machinesInVSphere(ctx context.Context, hub kube.Reader, template *unstructured.Unstructured, zone string) (question, error) {
	spec, _, _ := unstructured.NestedMap(template.Object, "spec", "template", "spec")
	q := question{}
	for _, field := range []string{"template", "datacenter", "datastore", "folder", "resourcePool", "cloneMode", "diskGiB", "numCPUs", "memoryMiB"} {
		if value, has := spec[field]; has {
			q[field] = value
		}
	}
	networks := networksIn(spec, "network", "devices")
	if zone != "" {
		deployment := &unstructured.Unstructured{}
		deployment.SetGroupVersionKind(template.GroupVersionKind().GroupVersion().WithKind("VSphereDeploymentZone"))
		if err := hub.Get(ctx, kube.ObjectKey{Name: zone}, deployment); err != nil {
			return nil, fmt.Errorf("reading VSphereDeploymentZone %s: %w", zone, err)
		}
		domain := &unstructured.Unstructured{}
		domain.SetGroupVersionKind(template.GroupVersionKind().GroupVersion().WithKind("VSphereFailureDomain"))
		if err := hub.Get(ctx, kube.ObjectKey{Name: text(deployment, "spec", "failureDomain")}, domain); err != nil {
			return nil, fmt.Errorf("reading VSphereFailureDomain %s of zone %s: %w", text(deployment, "spec", "failureDomain"), zone, err)
		}
		for field, value := range map[string]string{
			"datacenter": text(domain, "spec", "topology", "datacenter"), "datastore": text(domain, "spec", "topology", "datastore"),
			"folder": text(deployment, "spec", "placementConstraint", "folder"), "resourcePool": text(deployment, "spec", "placementConstraint", "resourcePool"),
		} {
			if value != "" {
				q[field] = value
			}
		}
		named, _, _ := unstructured.NestedStringSlice(domain.Object, "spec", "topology", "networks")
		networks = instead(networks, slices.Concat(named, networksIn(domain.Object, "spec", "topology", "networkConfigurations")))
	}
	if len(networks) > 0 {
		q["networks"] = networks
	}
	return q, nil
}

// networksIn returns the names of the networks of a list of devices.
func networksIn(in map[string]any, path ...string) []string {
	devices, _, _ := unstructured.NestedSlice(in, path...)
	var names []string
	for _, one := range devices {
		device, _ := one.(map[string]any)
		if name, _ := device["networkName"].(string); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// instead returns the second list where that has something, and the rest of the first.
func instead(first, second []string) []string {
	return append(second, first[min(len(first), len(second)):]...)
}
