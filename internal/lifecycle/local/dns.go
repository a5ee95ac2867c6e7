package local

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
)

//go:embed dns.yaml
var dnsManifest string

// resources are those of the kinds in dns.yaml, enrolment.yaml and MetalLB's manifest.
var resources = map[string]schema.GroupVersionResource{
	"Namespace":          {Version: "v1", Resource: "namespaces"},
	"ServiceAccount":     {Version: "v1", Resource: "serviceaccounts"},
	"ConfigMap":          {Version: "v1", Resource: "configmaps"},
	"Service":            {Version: "v1", Resource: "services"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"Role":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"Secret":             {Version: "v1", Resource: "secrets"},
	"Deployment":         {Group: "apps", Version: "v1", Resource: "deployments"},
	"DaemonSet":          {Group: "apps", Version: "v1", Resource: "daemonsets"},

	"CustomResourceDefinition": {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"IPAddressPool":            {Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"},
	"L2Advertisement":          {Group: "metallb.io", Version: "v1beta1", Resource: "l2advertisements"},
}

// dnsObjects returns the objects of the cluster's DNS, in the order in which to apply them.
func dnsObjects(spec machine.Spec) ([]*unstructured.Unstructured, error) {
	text := strings.NewReplacer("${DNS_ADDRESS}", spec.DNSAddress().String(), "${DNS_IMAGE}", dnsImage).Replace(dnsManifest)
	return decode("dns.yaml", text)
}

// decode reads the objects of a manifest.
func decode(file, text string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		objects = append(objects, object)
	}
}

// installDNS applies the cluster's DNS. It does not wait until that serves.
func (h *healing) installDNS(ctx context.Context) error {
	objects, err := dnsObjects(h.main.spec)
	if err != nil {
		return err
	}
	return h.apply(ctx, objects)
}

// apply brings objects of ours into the cluster.
func (h *healing) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	eager := rest.CopyConfig(h.config)
	eager.QPS = -1 // a manifest has some thirty objects, and this API is for nobody else yet
	client, err := dynamic.NewForConfig(eager)
	if err != nil {
		return err
	}
	for _, object := range objects {
		resource := client.Resource(resources[object.GetKind()]).Namespace(object.GetNamespace())
		options := metav1.ApplyOptions{FieldManager: "umbel", Force: true} // the objects are ours
		if _, err := resource.Apply(ctx, object.GetName(), object, options); err != nil {
			return fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}
