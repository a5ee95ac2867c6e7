package hosted

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

//go:embed class.yaml
var classManifest string

// class keeps the ClusterClass local, and the templates that it is made of, in the hub's namespace.
type class struct {
	client   client.Client
	versions []string
	machine  local.Capacity
	host     places
	looks    time.Duration // how often it looks what is taken
	log      *slog.Logger
}

// Start applies the class, and again when other ranges are taken. While Cluster API's webhooks do not serve, it is refused: it is tried again until
// that has worked.
func (c *class) Start(ctx context.Context) error {
	tick := time.NewTicker(soon)
	defer tick.Stop()
	applied, said := "nothing yet", ""
	for {
		wait := c.looks
		taken, err := c.taken()
		if err == nil && taken != applied {
			err = c.apply(ctx, taken)
		}
		switch {
		case err == nil:
			applied, said = taken, ""
		case err.Error() != said:
			said = err.Error()
			c.log.Warn("the ClusterClass local is not as it is to be yet", "error", err)
			fallthrough
		default:
			wait = soon
		}
		tick.Reset(wait)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// taken is what the class says of ranges of addresses that are taken.
func (c *class) taken() (string, error) {
	all, err := c.host.Taken()
	if err != nil {
		return "", fmt.Errorf("reading which addresses are taken: %w", err)
	}
	raw, err := json.Marshal(all)
	return string(raw), err
}

func (c *class) apply(ctx context.Context, taken string) error {
	clusters := &unstructured.UnstructuredList{}
	clusters.SetGroupVersionKind(clusterKind.GroupVersion().WithKind(clusterKind.Kind + "List"))
	if err := c.client.List(ctx, clusters); err != nil {
		return fmt.Errorf("looking which versions clusters have: %w", err)
	}
	objects, err := classObjects(offered(c.versions, clusters.Items), c.machine)
	if err != nil {
		return err
	}
	objects[len(objects)-1].SetAnnotations(map[string]string{infra.TakenAnnotation: taken})
	for _, o := range objects {
		o := o.DeepCopy()
		if err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("umbel-local"), client.ForceOwnership); err != nil {
			return fmt.Errorf("installing %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// offered are the versions that the class names: those that the computer has, and those that clusters have. Without the latter Cluster
// API would refuse any change of these clusters, and of the class: none could go on to a version that is there.
func offered(has []string, clusters []unstructured.Unstructured) []string {
	all := slices.Clone(has)
	for _, c := range clusters {
		wanted := field[string](&c, "spec", "topology", "version")
		_, err := version.ParseGeneric(wanted)
		if field[string](&c, "spec", "topology", "classRef", "name") == v1alpha1.LocalProvider && err == nil && !slices.Contains(all, wanted) {
			all = append(all, wanted)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		order, _ := version.MustParseGeneric(a).Compare(b) // all have been parsed
		return order
	})
	return all
}

// classObjects returns the class of these versions of Kubernetes and of machines that hold so much, after the templates that it names.
func classObjects(versions []string, machine local.Capacity) ([]*unstructured.Unstructured, error) {
	text := strings.NewReplacer(
		"${VERSIONS}", strings.Join(versions, ", "), "${CPUS}", strconv.Itoa(machine.CPUs), "${MEMORY}", strconv.FormatInt(machine.Memory, 10),
	).Replace(classManifest)
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
