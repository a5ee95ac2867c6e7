package ascent

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kind returns one of Cluster API's.
func kind(name string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: name}
}

// Survey reads what an upgrade of a Cluster begins from: its class and its pools.
func Survey(ctx context.Context, hub client.Reader, cluster *unstructured.Unstructured) (Ground, error) {
	g := Ground{Cluster: cluster}
	class := &unstructured.Unstructured{}
	class.SetGroupVersionKind(kind("ClusterClass"))
	at := classOf(cluster)
	if at.Name == "" {
		return g, nil
	}
	if err := hub.Get(ctx, at, class); err != nil {
		return g, fmt.Errorf("reading the class of cluster %s: %w", cluster.GetName(), err)
	}
	g.Class = class
	pools, _, _ := unstructured.NestedSlice(cluster.Object, "spec", "topology", "workers", "machineDeployments")
	for _, one := range pools {
		machines, _ := one.(map[string]any)
		name, _ := machines["name"].(string)
		deployment, err := PoolOf(ctx, hub, client.ObjectKeyFromObject(cluster), name)
		if err != nil {
			return g, err
		}
		if deployment != nil {
			g.Pools = append(g.Pools, Pool{Name: name, Version: VersionOf(deployment), Machines: number(deployment, "spec", "replicas")})
		}
	}
	return g, nil
}

// classOf says which class a Cluster is of; one without a name for none.
func classOf(cluster *unstructured.Unstructured) client.ObjectKey {
	return client.ObjectKey{
		Namespace: cmp.Or(text(cluster, "spec", "topology", "classRef", "namespace"), cluster.GetNamespace()),
		Name:      text(cluster, "spec", "topology", "classRef", "name"),
	}
}

// PoolOf returns the MachineDeployment of a pool, nil where there is none yet.
func PoolOf(ctx context.Context, hub client.Reader, cluster client.ObjectKey, pool string) (*unstructured.Unstructured, error) {
	all := &unstructured.UnstructuredList{}
	all.SetGroupVersionKind(kind("MachineDeploymentList"))
	of := client.MatchingLabels{"cluster.x-k8s.io/cluster-name": cluster.Name, PoolLabel: pool}
	if err := hub.List(ctx, all, client.InNamespace(cluster.Namespace), of); err != nil {
		return nil, fmt.Errorf("reading pool %s of cluster %s: %w", pool, cluster.Name, err)
	}
	if len(all.Items) == 0 {
		return nil, nil
	}
	return &all.Items[0], nil
}

// VersionOf returns the Kubernetes that the machines of a MachineDeployment are to be.
func VersionOf(deployment *unstructured.Unstructured) string {
	return text(deployment, "spec", "template", "spec", "version")
}
