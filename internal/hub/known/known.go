// Package known is what whoever speaks to a hub knows of it beforehand: where its kubeconfig is on its own computer, and which kinds it
// has. It is apart from the hub, so that the command line's rooms can be asked by the hub itself, whose console shows what they show.
package known

import (
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"

	"umbel.dev/umbel/api/v1alpha1"
)

// Dir is the hub's folder within a data folder.
func Dir(home string) string { return filepath.Join(home, "hub") }

// AdminKubeconfig is the kubeconfig of a hub with an embedded API.
func AdminKubeconfig(home string) string { return filepath.Join(Dir(home), "admin.kubeconfig") }

// Scheme knows the kinds that a hub and its clients work with: ours and Kubernetes' own.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := inventory.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return scheme, v1alpha1.AddToScheme(scheme)
}
