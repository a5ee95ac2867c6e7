package hosted

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

//go:embed class.yaml
var classManifest string

// class keeps the ClusterClass local, and the templates that it is made of, in the hub's namespace.
type class struct {
	client   client.Client
	versions []string
	log      *slog.Logger
}

// Start applies the class. While Cluster API's webhooks do not serve, it is refused: it is tried again until that has worked.
func (c *class) Start(ctx context.Context) error {
	objects, err := classObjects(c.versions)
	if err != nil {
		return err
	}
	tick := time.NewTicker(soon)
	defer tick.Stop()
	for said := ""; ; {
		err := c.apply(ctx, objects)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if err.Error() != said {
			said = err.Error()
			c.log.Warn("the ClusterClass local is not there yet", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *class) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	for _, o := range objects {
		o := o.DeepCopy()
		if err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("umbel-local"), client.ForceOwnership); err != nil {
			return fmt.Errorf("installing %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// classObjects returns the class of these versions of Kubernetes, after the templates that it names.
func classObjects(versions []string) ([]*unstructured.Unstructured, error) {
	text := strings.ReplaceAll(classManifest, "${VERSIONS}", strings.Join(versions, ", "))
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(text)), 4096); ; {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading class.yaml: %w", err)
		}
		o.SetNamespace(v1alpha1.SystemNamespace)
		o.SetLabels(map[string]string{v1alpha1.ProviderLabel: v1alpha1.LocalProvider})
		objects = append(objects, o)
	}
}
