package balancer

import (
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Namespace is where MetalLB's manifest puts all of it.
const Namespace = "metallb-system"

// PoolName is that of the pool and of its announcement. What else is in the namespace is the cluster's administrators'.
const PoolName = "umbel"

// programs are MetalLB's, by the container that runs each.
var programs = map[string]string{"controller": "umbel-metallb-controller", "speaker": "umbel-metallb-speaker"}

// Adapt returns the objects of MetalLB's manifest as they are applied here:
//
//   - its two images are one, which every machine has from its start, and none is pulled;
//   - the controller serves no webhooks, and they are not registered: pools are checked before they get here, and what a webhook would
//     refuse MetalLB says in an event;
//   - the speaker is root, as in its makers' image and not in ours, to read its configuration; it has the one capability that it needs;
//   - the first look at whether a pod is ready is after a second: a node takes part in announcements when it is.
func Adapt(manifest []*unstructured.Unstructured, image string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	seen := map[string]bool{}
	for _, object := range manifest {
		switch object.GetKind() {
		case "ValidatingWebhookConfiguration":
			continue
		case "Deployment", "DaemonSet":
			object = object.DeepCopy()
			name, err := adaptPods(object, image)
			if err != nil {
				return nil, fmt.Errorf("%s %s of MetalLB: %w", object.GetKind(), object.GetName(), err)
			}
			seen[name] = true
		}
		all = append(all, object)
	}
	for name := range programs {
		if !seen[name] {
			return nil, fmt.Errorf("MetalLB's manifest has no container %q: is it another version's?", name)
		}
	}
	return all, nil
}

// adaptPods changes what an object says of its pods, and returns the name of their container.
func adaptPods(object *unstructured.Unstructured, image string) (string, error) {
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(object.Object, path...)
	if err != nil {
		return "", err
	}
	if len(containers) != 1 {
		return "", fmt.Errorf("%d containers, where one was expected", len(containers))
	}
	container, _ := containers[0].(map[string]any)
	name, _ := container["name"].(string)
	program, known := programs[name]
	if !known {
		return "", fmt.Errorf("container %q is not one of MetalLB's that are known here", name)
	}
	container["image"], container["imagePullPolicy"], container["command"] = image, "Never", []any{"/" + program}
	if name == "controller" {
		args, _ := container["args"].([]any)
		container["args"] = append(args, "--webhook-mode=disabled")
	}
	if name == "speaker" {
		if err := unstructured.SetNestedField(container, int64(0), "securityContext", "runAsUser"); err != nil {
			return "", err
		}
	}
	for _, field := range []string{"initialDelaySeconds", "periodSeconds"} {
		if err := unstructured.SetNestedField(container, int64(1), "readinessProbe", field); err != nil {
			return "", err
		}
	}
	return name, unstructured.SetNestedSlice(object.Object, containers, path...)
}

// Pool returns the objects by which MetalLB gives out the addresses of a pool, and announces them by ARP.
func Pool(pool netip.Prefix) []*unstructured.Unstructured {
	object := func(kind string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": map[string]any{"namespace": Namespace, "name": PoolName}, "spec": spec,
		}}
	}
	return []*unstructured.Unstructured{
		object("IPAddressPool", map[string]any{"addresses": []any{pool.String()}}),
		object("L2Advertisement", map[string]any{"ipAddressPools": []any{PoolName}, "interfaces": []any{"eth0"}}),
	}
}
