package hosted

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/lifecycle/local"
)

// awsKind and azureKind are the infrastructures of Cluster API's providers for AWS and Azure.
var (
	awsKind   = schema.GroupVersionKind{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta2", Kind: "AWSCluster"}
	azureKind = schema.GroupVersionKind{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta1", Kind: "AzureCluster"}
)

// asks says whether an infrastructure makes no way to the API of its own, and so waits to be told where that is. Those of other kinds that we know
// do not ask.
var asks = map[schema.GroupVersionKind]func(place *unstructured.Unstructured) bool{
	awsKind: func(place *unstructured.Unstructured) bool {
		return field[string](place, "spec", "controlPlaneLoadBalancer", "loadBalancerType") == "disabled"
	},
	azureKind: func(place *unstructured.Unstructured) bool {
		enabled, said, _ := unstructured.NestedBool(place.Object, "spec", "controlPlaneEnabled")
		return said && !enabled
	},
}

// tell tells the infrastructure of a cluster where its API is, if that is what it waits for, and once: providers take no other one later.
func (c *planeController) tell(ctx context.Context, namespace string, f family, plane local.Plane) error {
	if f.provisioned() {
		return nil
	}
	for kind, waits := range asks {
		if field[string](f.cluster, "spec", "infrastructureRef", "kind") != kind.Kind {
			continue
		}
		name := field[string](f.cluster, "spec", "infrastructureRef", "name")
		place, err := get(ctx, c.live, kind, client.ObjectKey{Namespace: namespace, Name: name})
		if err != nil || place == nil || !waits(place) || field[string](place, "spec", "controlPlaneEndpoint", "host") != "" {
			return err
		}
		at := fmt.Sprintf(`{"spec":{"controlPlaneEndpoint":{"host":%q,"port":%d}}}`, plane.Address.Addr(), plane.Address.Port())
		if err := c.client.Patch(ctx, place, client.RawPatch("application/merge-patch+json", []byte(at))); err != nil {
			return fmt.Errorf("telling %s %s where the API is: %w", kind.Kind, name, err)
		}
	}
	return nil
}
