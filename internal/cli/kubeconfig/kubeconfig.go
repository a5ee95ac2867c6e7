package kubeconfig

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/route"
)

const examples = `  # a context for each cluster of the fleet, in your own kubeconfig; then any kubectl, and whatever else reads one
  umbel kubeconfig
  kubectl --context prod-eu get pods -A

  # production alone, under names that nothing else has; what led to clusters that have left is taken out
  umbel kubeconfig --clusters env=prod --prefix umbel- --prune

  # for a program, in a file of its own
  umbel kubeconfig --clusters env=prod --output - > fleet.kubeconfig`

// stdout is the file name that means standard output.
const stdout = "-"

// formats are what -o means with other commands: a file that is called so was hardly meant.
var formats = []string{string(output.JSON), string(output.YAML), string(output.Wide), string(output.Name)}

// Options are the arguments of `umbel kubeconfig`.
type Options struct {
	*client.Factory
	// Clusters says by their labels which clusters get a context.
	Clusters string
	// File is where it is written; "-" is standard output, and empty where `kubectl config` writes.
	File string
	// Prefix stands before the names of contexts.
	Prefix string
	// Prune takes contexts of clusters that have left out.
	Prune bool

	selector labels.Selector
}

// NewCmd returns the command `umbel kubeconfig`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Write a kubectl context for each cluster, through the hub",
		Long: "Merge a context for each cluster into your kubeconfig: the one that `kubectl config` writes to. kubectl and every other client then\n" +
			"reach the clusters through the hub, as the one who you are for the hub. No credential of a cluster is in it.\n\n" +
			"Entries that do not lead through this hub are left alone.",
		Example:           examples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.complete(); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	cmd.Flags().StringVar(&o.Clusters, "clusters", "", "`LABELS` of the clusters, such as env=prod,region!=us; the default is all of them")
	cmd.Flags().StringVarP(&o.File, "output", "o", "", "`FILE` to merge into, - for standard output; the default is that of kubectl config: $KUBECONFIG or ~/.kube/config")
	cmd.Flags().StringVar(&o.Prefix, "prefix", "", "`TEXT` before the name of the cluster in the names of contexts")
	cmd.Flags().BoolVar(&o.Prune, "prune", false, "take out what led to clusters that have left the fleet")
	// They fail for flags that do not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	_ = cmd.RegisterFlagCompletionFunc("prefix", cobra.NoFileCompletions)
	return cmd
}

func (o *Options) complete() (err error) {
	if o.selector, err = labels.Parse(o.Clusters); err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.Clusters, err)
	}
	if slices.Contains(formats, o.File) {
		return exit.Usagef("-o names a file here: a kubeconfig has one format. `-o -` prints it, and a file of this name is ./%s", o.File)
	}
	if o.File == stdout && o.Prune {
		return exit.Usagef("--prune takes out of a file: standard output has nothing yet")
	}
	if o.File == "" {
		o.File = clientcmd.NewDefaultPathOptions().GetDefaultFilename()
	}
	return nil
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	own, err := o.LoadKubeconfig()
	if err != nil {
		return err
	}
	door, err := route.Find(ctx, hub, hub.Config)
	if err != nil {
		return err
	}
	fleet := fleet{door: door.Knock(ctx, own), user: route.User(own), prefix: o.Prefix}
	all, err := o.members(ctx, hub, &fleet)
	if err != nil {
		return err
	}
	if len(fleet.clusters) == 0 {
		o.Note("%s", client.NoneMatch(o.Clusters, len(all)))
	}
	if o.File == stdout {
		return o.print(fleet)
	}
	var changes []change
	err = Edit(o.File, func(config *clientcmdapi.Config) (err error) {
		var pruned []change
		if o.Prune {
			pruned = fleet.prune(config, all)
		}
		changes, err = fleet.merge(config)
		changes = append(changes, pruned...)
		return err
	})
	if err != nil {
		return err
	}
	for _, change := range changes {
		fmt.Fprintf(o.Out, "context/%s %s\n", change.context, change.what)
	}
	if len(changes) > 0 {
		o.Note("The kubeconfig is %s", o.File)
	}
	return nil
}

// members gives the fleet the clusters that are selected, and returns all that there are.
func (o *Options) members(ctx context.Context, hub *client.Hub, fleet *fleet) ([]v1alpha1.ClusterName, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kinds.Clusters.ListGVK())
	if err := hub.ListClusters(ctx, list, labels.Everything()); err != nil {
		return nil, err
	}
	var all []v1alpha1.ClusterName
	for _, cluster := range list.Items {
		name := v1alpha1.ClusterName(cluster.Name)
		all = append(all, name)
		if o.selector.Matches(labels.Set(cluster.Labels)) {
			fleet.clusters = append(fleet.clusters, name)
		}
	}
	return all, nil
}

func (o *Options) print(fleet fleet) error {
	config := clientcmdapi.NewConfig()
	if _, err := fleet.merge(config); err != nil {
		return err
	}
	raw, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	_, err = o.Out.Write(raw)
	return err
}
