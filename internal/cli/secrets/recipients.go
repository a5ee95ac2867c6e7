package secrets

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
)

const recipientsExamples = `  # for whom to encrypt, so that each cluster can open it
  umbel secrets recipients

  # what production needs, as .sops.yaml has it, and for yourself, so that you can edit it
  umbel secrets recipients --clusters env=prod -o sops --with "$(age-keygen -y keys.txt)" > .sops.yaml

  # as arguments of sops
  sops encrypt --age "$(umbel secrets recipients prod-eu -o name)" --encrypted-regex '^(data|stringData)$' secret.yaml`

// SOPS is the format of .sops.yaml.
const SOPS output.Format = "sops"

// recipientsOptions are the arguments of `umbel secrets recipients`.
type recipientsOptions struct {
	*client.Factory
	names     []string
	clusters  string
	with      []string
	noHeaders bool
	format    output.Format

	selector labels.Selector
}

func newRecipientsCmd(f *client.Factory) *cobra.Command {
	o := &recipientsOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "recipients [CLUSTER...]",
		Short: "Show for whom to encrypt, so that clusters can open it",
		Long: "Show the recipient of each cluster's own key, for which secrets are encrypted; it is public. With -o wide also those of keys that\n" +
			"were brought, or that are older: what is encrypted for one of these can be opened too.",
		Example:           recipientsExamples,
		ValidArgsFunction: f.CompleteNames(kinds.Clusters),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name, SOPS)
	cmd.Flags().StringVar(&o.clusters, "clusters", "", "only clusters that have the `LABELS`, such as env=prod,region!=us")
	cmd.Flags().StringSliceVar(&o.with, "with", nil, "with -o sops and -o name: encrypt for `RECIPIENT` too, such as yourself, so that you can edit it")
	cmd.Flags().BoolVar(&o.noHeaders, "no-headers", false, "leave the header of the table out")
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	return cmd
}

func (o *recipientsOptions) complete(args []string) (err error) {
	for _, arg := range args {
		name, err := kinds.Clusters.NameOf(arg)
		if err != nil {
			return err
		}
		o.names = append(o.names, name)
	}
	if len(o.names) > 0 && o.clusters != "" {
		return exit.Usagef("name clusters or give --clusters, not both")
	}
	if len(o.with) > 0 && o.format != SOPS && o.format != output.Name {
		return exit.Usagef("--with goes with -o sops or -o name")
	}
	if o.selector, err = labels.Parse(o.clusters); err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.clusters, err)
	}
	return nil
}

// keys are what a cluster can open.
type keys struct {
	Cluster v1alpha1.ClusterName `json:"cluster"`
	// Recipient is the one to encrypt for, and Others are of keys that it has besides.
	Recipient string   `json:"recipient,omitempty"`
	Others    []string `json:"others,omitempty"`
}

func (o *recipientsOptions) run(ctx context.Context, hub *client.Hub) error {
	var list v1alpha1.MemberClusterList
	if err := hub.ListClusters(ctx, &list, o.selector); err != nil {
		return err
	}
	var all []keys
	missing := slices.Clone(o.names)
	for i := range list.Items {
		cluster := &list.Items[i]
		if len(o.names) > 0 && !slices.Contains(o.names, cluster.Name) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == cluster.Name })
		all = append(all, keysOf(cluster))
	}
	if len(missing) > 0 {
		return fmt.Errorf("there is no cluster %q: `umbel get clusters` lists them", missing[0])
	}
	if len(all) == 0 {
		none, err := hub.NoneMatch(ctx, o.selector.String())
		if err != nil {
			return err
		}
		o.Note("%s", none)
		return nil
	}
	return o.write(all)
}

func keysOf(cluster *v1alpha1.MemberCluster) keys {
	k := keys{Cluster: v1alpha1.ClusterName(cluster.Name)}
	for _, property := range cluster.Status.Properties {
		if property.Name != v1alpha1.RecipientsProperty {
			continue
		}
		lines := strings.Split(property.Value, "\n")
		k.Recipient, k.Others = lines[0], lines[1:]
	}
	return k
}

// write writes the keys. What is for sops has every cluster that was asked for in it, or nothing is written: a cluster that is left
// out could not open what is encrypted then.
func (o *recipientsOptions) write(all []keys) error {
	switch o.format {
	case output.JSON, output.YAML:
		return output.Encode(o.Out, o.format, all)
	case output.Name, SOPS:
		recipients := slices.Clone(o.with)
		for _, k := range all {
			if k.Recipient == "" {
				return fmt.Errorf("cluster %q has told no recipient yet: its agent does so once it has come (`umbel describe cluster %s`); leave the cluster out, or wait for it", k.Cluster, k.Cluster)
			}
			if !slices.Contains(recipients, k.Recipient) {
				recipients = append(recipients, k.Recipient)
			}
		}
		if o.format == output.Name {
			_, err := fmt.Fprintln(o.Out, strings.Join(recipients, ","))
			return err
		}
		return writeRule(o.Out, all, recipients)
	}
	return o.table(all)
}

// writeRule writes a .sops.yaml that encrypts the values of Secrets.
func writeRule(w io.Writer, all []keys, recipients []string) error {
	var text strings.Builder
	text.WriteString("# for the clusters")
	for i, k := range all {
		if i > 0 {
			text.WriteString(",")
		}
		text.WriteString(" " + string(k.Cluster))
	}
	text.WriteString("\ncreation_rules:\n  - path_regex: \\.ya?ml$\n    encrypted_regex: ^(data|stringData)$\n    age: >-\n")
	rule := "      " + strings.Join(recipients, ",\n      ") + "\n"
	text.WriteString(rule)
	text.WriteString("  - age: >-\n" + rule) // files of generators
	_, err := io.WriteString(w, text.String())
	return err
}

func (o *recipientsOptions) table(all []keys) error {
	table := output.Table{Headers: []string{"CLUSTER", "RECIPIENT"}, Palette: o.Palette(o.Out), HideHeaders: o.noHeaders}
	if o.format == output.Wide {
		table.Headers = append(table.Headers, "OTHERS")
	}
	var rows [][]output.Cell
	for _, k := range all {
		row := []output.Cell{output.Text(string(k.Cluster)), output.Text(k.Recipient)}
		if k.Recipient == "" {
			row[1] = output.Cell{Text: "none yet", Tone: output.Doubtful}
		}
		if o.format == output.Wide {
			row = append(row, output.Text(strings.Join(k.Others, ",")))
		}
		rows = append(rows, row)
	}
	return table.Write(o.Out, rows)
}
