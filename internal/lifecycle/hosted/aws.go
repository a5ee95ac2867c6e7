package hosted

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/lifecycle/local"
)

// awsKind is the infrastructure of Cluster API's provider for AWS.
var awsKind = schema.GroupVersionKind{Group: "infrastructure.cluster.x-k8s.io", Version: "v1beta2", Kind: "AWSCluster"}

// tell tells the infrastructure of a cluster where its API is, if that is what it waits for. An AWSCluster that has no load balancer to make does,
// and it is for good: its provider takes no other one later. Those of other kinds that we know do not ask.
func (c *planeController) tell(ctx context.Context, namespace string, f family, plane local.Plane) error {
	if field[string](f.cluster, "spec", "infrastructureRef", "kind") != awsKind.Kind || f.provisioned() {
		return nil
	}
	name := field[string](f.cluster, "spec", "infrastructureRef", "name")
	place, err := get(ctx, c.live, awsKind, client.ObjectKey{Namespace: namespace, Name: name})
	if err != nil || place == nil || field[string](place, "spec", "controlPlaneLoadBalancer", "loadBalancerType") != "disabled" ||
		field[string](place, "spec", "controlPlaneEndpoint", "host") != "" {
		return err
	}
	at := fmt.Sprintf(`{"spec":{"controlPlaneEndpoint":{"host":%q,"port":%d}}}`, plane.Address.Addr(), plane.Address.Port())
	if err := c.client.Patch(ctx, place, client.RawPatch("application/merge-patch+json", []byte(at))); err != nil {
		return fmt.Errorf("telling %s %s where the API is: %w", awsKind.Kind, name, err)
	}
	return nil
}
