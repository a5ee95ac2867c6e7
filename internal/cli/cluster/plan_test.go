package cluster

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
)

func object(kindName, namespace, name string, content map[string]any) unstructured.Unstructured {
	o := unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(kind(kindName))
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func classWith(name string, pools []any, versions ...any) unstructured.Unstructured {
	return object("ClusterClass", v1alpha1.SystemNamespace, name, map[string]any{"spec": map[string]any{
		"kubernetesVersions": versions, "workers": map[string]any{"machineDeployments": pools},
	}})
}

// hubHas is a hub with two classes, a cluster, and its place on the hub's machine.
func hubHas() seen {
	worker := []any{map[string]any{"class": "worker"}}
	own := classWith("local", worker, "v1.35.2", "v1.36.1", "v1.36.3")
	own.SetAnnotations(map[string]string{infra.TakenAnnotation: `[{"range":"10.66.0.0/16","of":"the pods of cluster \"edge\" of ` + "`umbel local`" + `"},{"range":"10.9.0.0/16","of":"its services","services":true}]`})
	own.Object["spec"].(map[string]any)["variables"] = []any{map[string]any{"name": balancerVariable}}
	return seen{
		classes: []unstructured.Unstructured{
			own, classWith("any", worker), classWith("bare", nil, "v1.36.3"),
		},
		clusters: []unstructured.Unstructured{object("Cluster", "team", "one", map[string]any{"spec": map[string]any{"clusterNetwork": map[string]any{
			"pods": map[string]any{"cidrBlocks": []any{"10.20.0.0/16"}},
		}}})},
		places: []unstructured.Unstructured{object("HostedCluster", "team", "one-abc", map[string]any{"status": map[string]any{"pods": "10.20.0.0/16", "services": "10.130.0.0/16", "loadBalancer": "10.203.130.0/28"}})},
	}
}

func TestPreflight(t *testing.T) {
	for _, c := range []struct {
		reason  string
		wish    wish
		member  bool
		version string   // that is ordered
		want    []string // parts of the error; none when nothing is in the way
	}{
		{"the newest", wish{name: "dev", class: "local", workers: 1}, false, "v1.36.3", nil},
		{"the newest of a minor", wish{name: "dev", class: "local", version: "1.35"}, false, "v1.35.2", nil},
		{"of 1.36, and not of 1.3", wish{name: "dev", class: "local", version: "1.3"}, false, "", []string{"kubernetes v1.3 is not to be had", "v1.35.2, v1.36.1, v1.36.3"}},
		{"a version in full", wish{name: "dev", class: "local", version: "v1.36.1"}, false, "v1.36.1", nil},
		{"a version that is none", wish{name: "dev", class: "local", version: "latest"}, false, "", []string{`version "latest" is none`}},
		{"a class that does not say", wish{name: "dev", class: "any", version: "1.36"}, false, "", []string{"give one in full"}},
		{"a class that does not say, in full", wish{name: "dev", class: "any", version: "1.36.2"}, false, "v1.36.2", nil},
		{"no such class", wish{name: "dev", class: "aws"}, false, "", []string{`class "aws" is not there: there are any, bare, local`}},
		{"three members", wish{name: "dev", class: "local", planes: 3}, false, "v1.36.3", nil},
		{"two members", wish{name: "dev", class: "local", planes: 2}, false, "", []string{"control plane of 2 members", "1, or 3"}},
		{"five members here", wish{name: "dev", class: "local", planes: 5}, false, "", []string{"control plane of 5 members"}},
		{"five members elsewhere", wish{name: "dev", class: "bare", planes: 5}, false, "v1.36.3", nil},
		{"four members elsewhere", wish{name: "dev", class: "bare", planes: 4}, false, "", []string{"an odd number"}},
		{"no machines", wish{name: "dev", class: "bare", workers: 1}, false, "", []string{"has no machines"}},
		{"no machines wanted", wish{name: "dev", class: "bare"}, false, "v1.36.3", nil},
		{"no machines, in a pool", wish{name: "dev", class: "bare", pools: []machinePool{{Name: "big", Replicas: 1}}}, false, "", []string{"has no machines"}},
		{"pools", wish{name: "dev", class: "local", pools: []machinePool{{Name: "big", Replicas: 1}, {Name: "small"}}}, false, "v1.36.3", nil},
		{"a zone here", wish{name: "dev", class: "local", zone: "east"}, false, "", []string{`class "local" has no zones`}},
		{"a pool's zone here", wish{name: "dev", class: "local", pools: []machinePool{{Name: "big", Zone: "east"}}}, false, "", []string{`class "local" has no zones`}},
		{"zones elsewhere", wish{name: "dev", class: "any", version: "1.36.2", zone: "east", pools: []machinePool{{Name: "big", Zone: "west"}}}, false, "v1.36.2", nil},
		{"a pool twice, and one that is there", wish{name: "dev", class: "local", pools: []machinePool{{Name: "big"}, {Name: "big"}, {Name: "workers"}}}, false, "", []string{`pool "big" is there twice`, `pool "workers" is there twice`}},
		{"a pool's label", wish{name: "dev", class: "local", pools: []machinePool{{Name: "big", Labels: map[string]string{"size": "big"}}}}, false, "", []string{"label size stays on the machine"}},
		{"fewer than none", wish{name: "dev", class: "local", workers: -1}, false, "", []string{"workers is -1"}},
		{"a Cluster's name", wish{name: "one", class: "local"}, false, "", []string{"taken by the Cluster of that name in namespace team"}},
		{"a member's name", wish{name: "dev", class: "local"}, true, "", []string{"attached to the fleet"}},
		{"capitals", wish{name: "Dev", class: "local"}, false, "", []string{`name "Dev"`}},
		{"too long for a link", wish{name: strings.Repeat("x", 41), class: "local"}, false, "", []string{"at most 40"}},
		{"as long elsewhere", wish{name: strings.Repeat("x", 41), class: "any", version: "1.36.2"}, false, "v1.36.2", nil},
		{"addresses of its own", wish{name: "dev", class: "local", pods: "10.30.0.0/16", services: "10.31.0.0/16"}, false, "v1.36.3", nil},
		{"another one's pods", wish{name: "dev", class: "local", pods: "10.20.4.0/24"}, false, "", []string{"--pods 10.20.4.0/24 overlaps 10.20.0.0/16, which is the pods of cluster one"}},
		{"the pods of a cluster of umbel local", wish{name: "dev", class: "any", version: "1.36.2", pods: "10.66.0.0/16"}, false, "", []string{"--pods 10.66.0.0/16 overlaps 10.66.0.0/16, which is the pods of cluster \"edge\" of `umbel local`: take another"}},
		{"a copy with the services of a cluster of umbel local", wish{name: "dev", class: "local", services: "10.9.0.0/16", restore: "one/20261127-060000@1"}, false, "v1.36.3", nil},
		{"a place's services", wish{name: "dev", class: "local", services: "10.128.0.0/9"}, false, "", []string{"overlaps 10.130.0.0/16"}},
		{"a copy with the services of its origin", wish{name: "dev", class: "local", services: "10.130.0.0/16", restore: "one/20261127-060000@1"}, false, "v1.36.3", nil},
		{"a copy with another one's pods", wish{name: "dev", class: "local", pods: "10.20.4.0/24", restore: "one/20261127-060000@1"}, false, "", []string{"the pods of cluster one"}},
		{"its own", wish{name: "dev", class: "local", pods: "10.30.0.0/16", services: "10.30.0.0/20"}, false, "", []string{"the pods of this cluster"}},
		{"addresses for Services", wish{name: "dev", class: "local", balancer: "10.203.131.0/28"}, false, "v1.36.3", nil},
		{"any addresses for Services", wish{name: "dev", class: "local", balancer: "0.0.0.0/28"}, false, "v1.36.3", nil},
		{"another one's addresses for Services", wish{name: "dev", class: "local", balancer: "10.203.130.8/29"}, false, "", []string{"--load-balancer-pool 10.203.130.8/29 overlaps 10.203.130.0/28, which is the load balancer's of cluster one-abc"}},
		{"an address for Services in the middle", wish{name: "dev", class: "local", balancer: "10.203.131.1/28"}, false, "", []string{"no IPv4 network"}},
		{"no address for Services", wish{name: "dev", class: "local", balancer: "some"}, false, "", []string{`--load-balancer-pool "some"`}},
		{"a class with a load balancer of its own", wish{name: "dev", class: "bare", balancer: "0.0.0.0/28"}, false, "", []string{`class "bare" has no variable loadBalancer`}},
		{"no network", wish{name: "dev", class: "local", pods: "10.30.1.0/16"}, false, "", []string{"is no network"}},
		{"all that is in the way", wish{name: "one", class: "local", version: "1.2", pods: "x"}, false, "", []string{"is taken", "not to be had", "is no network"}},
	} {
		s := hubHas()
		if c.member {
			s.member = &v1alpha1.MemberCluster{}
		}
		c.wish.namespace, c.wish.planes = "default", max(c.wish.planes, 1)
		got, err := preflight(c.wish, s)
		if (err == nil) != (c.want == nil) || err == nil && got.version != c.version {
			t.Errorf("%s: got %q, %v, want %q", c.reason, got.version, err, c.version)
		}
		for _, part := range c.want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want %q", c.reason, err, part)
			}
		}
	}
	for hub, reached := range map[string]bool{"127.0.0.1:7443": false, "localhost:7443": false, "[::1]:7443": false, "10.203.0.1:7443": true, "hub.example.com:443": true} {
		s := hubHas()
		s.hub = hub
		_, err := preflight(wish{name: "dev", namespace: "default", class: "local", planes: 1}, s)
		if (err == nil) != reached {
			t.Errorf("members dial %s: got %v", hub, err)
		}
		if _, err := preflight(wish{name: "dev", namespace: "default", class: "any", version: "1.36.2", planes: 1}, s); err != nil {
			t.Errorf("members dial %s, elsewhere: got %v", hub, err)
		}
	}
	_, err := preflight(wish{name: "dev", namespace: "default", class: "local", planes: 1}, seen{})
	if err == nil || !strings.Contains(err.Error(), "`umbel provider add local` brings it") {
		t.Errorf("without any class: got %v", err)
	}
}

func TestTheClusterThatIsOrdered(t *testing.T) {
	o, err := preflight(wish{namespace: "team", name: "dev", class: "local", version: "1.36", workers: 2, planes: 3, pools: []machinePool{{Name: "big", Replicas: 1, Labels: map[string]string{"node.cluster.x-k8s.io/size": "big"}}}, labels: map[string]string{"env": "dev"}, pods: "10.30.0.0/16", balancer: "0.0.0.0/28"}, hubHas())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster",
		"metadata": map[string]any{
			"namespace": "team", "name": "dev", "labels": map[string]any{"env": "dev"}, "annotations": map[string]any{"umbel.dev/join": "true"},
		},
		"spec": map[string]any{
			"clusterNetwork": map[string]any{"pods": map[string]any{"cidrBlocks": []any{"10.30.0.0/16"}}},
			"topology": map[string]any{
				"classRef": map[string]any{"name": "local", "namespace": "umbel-system"}, "version": "v1.36.3",
				"controlPlane": map[string]any{"replicas": int64(3)},
				"variables":    []any{map[string]any{"name": "loadBalancer", "value": "0.0.0.0/28"}},
				"workers": map[string]any{"machineDeployments": []any{
					map[string]any{"class": "worker", "name": "workers", "replicas": int64(2)},
					map[string]any{"class": "worker", "name": "big", "replicas": int64(1), "metadata": map[string]any{"labels": map[string]any{"node.cluster.x-k8s.io/size": "big"}}},
				}},
			},
		},
	}
	if diff := cmp.Diff(want, o.object().Object); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	o, err = preflight(wish{namespace: "team", name: "far", class: "any", version: "1.36.2", workers: 1, planes: 1, zone: "east", pools: []machinePool{{Name: "other", Replicas: 1, Zone: "west"}}}, hubHas())
	if err != nil {
		t.Fatal(err)
	}
	pools, _, _ := unstructured.NestedSlice(o.object().Object, "spec", "topology", "workers", "machineDeployments")
	zoned := []any{
		map[string]any{"class": "worker", "name": "workers", "replicas": int64(1), "failureDomain": "east"},
		map[string]any{"class": "worker", "name": "other", "replicas": int64(1), "failureDomain": "west"},
	}
	if diff := cmp.Diff(zoned, pools); diff != "" {
		t.Errorf("in two zones (-want +got):\n%s", diff)
	}
}

func TestChoosePool(t *testing.T) {
	with := func(names ...string) *unstructured.Unstructured {
		var all []any
		for _, name := range names {
			all = append(all, map[string]any{"name": name, "replicas": int64(1)})
		}
		o := object("Cluster", "default", "dev", map[string]any{"spec": map[string]any{"topology": map[string]any{"workers": map[string]any{"machineDeployments": all}}}})
		return &o
	}
	for _, c := range []struct {
		reason  string
		cluster *unstructured.Unstructured
		pool    string
		want    int
		err     string
	}{
		{"the only one", with("a"), "", 0, ""},
		{"the second", with("a", "b"), "b", 1, ""},
		{"which?", with("a", "b"), "", 0, "has the pools a, b"},
		{"none of that name", with("a"), "b", 0, `no pool "b"`},
		{"none at all", with(), "", 0, "no machines of its own"},
	} {
		got, err := choosePool(c.cluster, c.pool)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %d, %v, want %d, %q", c.reason, got, err, c.want, c.err)
		}
	}
}

func TestTheTree(t *testing.T) {
	said := func(kind, status, message string) []any {
		return []any{map[string]any{"type": kind, "status": status, "message": message}}
	}
	cluster := object("Cluster", "default", "dev", map[string]any{
		"spec":   map[string]any{"topology": map[string]any{"version": "v1.36.3", "classRef": map[string]any{"name": "local"}}},
		"status": map[string]any{"phase": "Provisioned", "conditions": said("Available", "False", "* WorkersAvailable: 1 of 2\n  * Machine dev-b is not there")},
	})
	root := clusterNode(&cluster)
	deployment := object("MachineDeployment", "default", "dev-workers", map[string]any{
		"spec":   map[string]any{"replicas": int64(2), "template": map[string]any{"spec": map[string]any{"failureDomain": "west"}}},
		"status": map[string]any{"availableReplicas": int64(1), "conditions": said("Available", "False", "1 available replicas, at least 2 required")},
	})
	var machines []unstructured.Unstructured
	for name, status := range map[string]string{"dev-a": "True", "dev-b": "False"} {
		m := object("Machine", "default", name, map[string]any{"status": map[string]any{"phase": "Running", "conditions": said("Ready", status, "* NodeHealthy: the kubelet stopped posting")}})
		m.SetLabels(map[string]string{"cluster.x-k8s.io/deployment-name": "dev-workers"})
		machines = append(machines, m)
	}
	if machines[0].GetName() != "dev-a" {
		machines[0], machines[1] = machines[1], machines[0]
	}
	root.children = append(root.children, &node{name: "HostedControlPlane dev-x", state: "Available", message: "its API serves"})
	root.children = append(root.children, workerNodes([]unstructured.Unstructured{deployment}, machines, nil, nil, nil)...)
	var got bytes.Buffer
	if err := root.write(&got); err != nil {
		t.Fatal(err)
	}
	const want = `Cluster default/dev                Provisioned  WorkersAvailable: 1 of 2; Machine dev-b is not there
├─ HostedControlPlane dev-x        Available    its API serves
└─ MachineDeployment dev-workers   1/2          zone west; 1 available replicas, at least 2 required
   ├─ Machine dev-a                Running
   └─ Machine dev-b                Running      NodeHealthy: the kubelet stopped posting
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
