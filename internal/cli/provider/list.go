package provider

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// listOptions are the arguments of `umbel provider list`.
type listOptions struct {
	*client.Factory
	format output.Format
}

func newListCmd(f *client.Factory) *cobra.Command {
	o := &listOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the providers, and whether they serve",
		Long:  "List the providers of Cluster API that the hub runs, Cluster API itself among them, and whether they serve.",
		Example: `  # do they serve?
  umbel provider list

  # and if not, why? Which versions are they, and which of Kubernetes can their clusters have?
  umbel provider list -o wide`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return f.OnHub(cmd.Context(), o.run) },
	}
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name)
	return cmd
}

func (o *listOptions) run(ctx context.Context, hub *client.Hub) error {
	all, err := list(ctx, hub)
	if err != nil {
		return err
	}
	switch o.format {
	case output.JSON, output.YAML:
		if all == nil {
			all = []v1alpha1.Provider{}
		}
		return output.Encode(o.Out, o.format, all)
	case output.Name:
		for _, p := range all {
			if _, err := fmt.Fprintln(o.Out, p.Name); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		o.Note("No providers, and no Cluster API: `umbel provider add NAME` has the hub run both")
		return nil
	}
	var versions map[string]string
	if o.format == output.Wide {
		if versions, err = versionsOf(ctx, hub); err != nil {
			return err
		}
	}
	return o.table(all, versions)
}

// versionsOf returns which Kubernetes the classes of each provider have that brings classes.
func versionsOf(ctx context.Context, hub kube.Reader) (map[string]string, error) {
	classes := &unstructured.UnstructuredList{}
	classes.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "ClusterClassList"})
	err := hub.List(ctx, classes, kube.InNamespace(v1alpha1.SystemNamespace), kube.HasLabels{v1alpha1.ProviderLabel})
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the classes of clusters: %w", err)
	}
	versions := map[string]string{}
	for _, c := range classes.Items {
		has, _, _ := unstructured.NestedStringSlice(c.Object, "spec", "kubernetesVersions")
		versions[c.GetLabels()[v1alpha1.ProviderLabel]] = strings.Join(has, ",")
	}
	return versions, nil
}

func (o *listOptions) table(all []v1alpha1.Provider, versions map[string]string) error {
	table := output.Table{Headers: []string{"NAME", "READY", "REASON", "AGE"}, Palette: o.Palette(o.Out)}
	if o.format == output.Wide {
		table.Headers = append(table.Headers, "VERSION", "KUBERNETES", "MESSAGE")
	}
	var rows [][]output.Cell
	for _, p := range all {
		ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil {
			ready = &metav1.Condition{Status: metav1.ConditionUnknown}
		}
		status := output.Cell{Text: string(ready.Status), Tone: output.Doubtful}
		if ready.Status == metav1.ConditionTrue {
			status = output.Text(string(ready.Status))
		}
		row := []output.Cell{output.Text(p.Name), status, output.Text(ready.Reason), output.Text(output.Age(p.CreationTimestamp.Time, o.Now()))}
		if o.format == output.Wide {
			row = append(row, output.Text(p.Annotations[v1alpha1.ProviderVersionAnnotation]), output.Text(versions[p.Name]), output.Text(view.Message(p.Status.Conditions)))
		}
		rows = append(rows, row)
	}
	return table.Write(o.Out, rows)
}
