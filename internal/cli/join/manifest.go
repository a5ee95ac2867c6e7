package join

import (
	"bytes"
	"context"
	"fmt"

	kube "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/lifecycle/enrol"
)

// Manifest returns what a cluster applies so that it comes by itself: the agent with a token for many clusters, and no name,
// for the agent takes one of its own. It keeps its state in a folder of its node.
func Manifest(ctx context.Context, hub kube.Client, token string) ([]byte, error) {
	boot, image, err := enrol.HubInfo(ctx, hub)
	if err != nil {
		return nil, err
	}
	boot.Token = token
	objects, err := enrol.Agent{Boot: boot, Image: image}.Manifests()
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, o := range objects {
		raw, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("writing %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		fmt.Fprintf(&text, "---\n%s", raw)
	}
	return text.Bytes(), nil
}
