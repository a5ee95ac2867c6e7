package hub

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/lifecycle/capi"
)

// ownProviders are the providers of Cluster API that the hub brings itself: that of clusters on its own machine.
func (h *hub) ownProviders() (map[string]capi.Own, error) {
	files, err := fs.Glob(deploy.Infrastructure, "infrastructure/*.yaml")
	if err != nil {
		return nil, err
	}
	var components bytes.Buffer
	for _, file := range files {
		raw, err := fs.ReadFile(deploy.Infrastructure, file)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&components, "\n---\n%s", raw)
	}
	return map[string]capi.Own{v1alpha1.LocalProvider: {
		Program:    filepath.Join(h.Programs, "umbel"),
		Args:       []string{"provider", "serve", "--home", h.Home},
		Components: components.Bytes(),
		Shipped:    []schema.GroupVersionKind{{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "ClusterClass"}},
	}}, nil
}
