package token

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

// shown is a token as programs read it: all but its hash, with the clusters in the place of their keys.
type shown struct {
	Name     string                 `json:"name"`
	Policy   v1alpha1.JoinPolicy    `json:"policy"`
	Uses     int                    `json:"uses"`
	MaxUses  int                    `json:"maxUses"`
	Expires  metav1.Time            `json:"expires"`
	Labels   map[string]string      `json:"labels,omitempty"`
	Clusters []v1alpha1.ClusterName `json:"clusters,omitempty"`
}

func shownOf(t named) shown {
	s := shown{
		Name: t.name, Policy: t.token.Policy, Uses: len(t.token.Uses), MaxUses: t.token.MaxUses,
		Expires: t.token.Expires, Labels: t.token.Labels,
	}
	for _, use := range slices.SortedFunc(maps.Values(t.token.Uses), byCluster) {
		s.Clusters = append(s.Clusters, use.Cluster)
	}
	return s
}

func byCluster(a, b v1alpha1.TokenUse) int { return cmp.Compare(a.Cluster, b.Cluster) }

// listOptions are the arguments of `umbel token list`.
type listOptions struct {
	*client.Factory
	format output.Format
}

func newListCmd(f *client.Factory) *cobra.Command {
	o := &listOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens with which clusters register themselves",
		Long:  "List the tokens with which clusters register themselves: how often each was used, and until when it may be.",
		Example: `  # the tokens that there are
  umbel token list

  # with the clusters that each has let in
  umbel token list -o wide`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return f.OnHub(cmd.Context(), o.run) },
	}
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name)
	return cmd
}

func (o *listOptions) run(ctx context.Context, hub *client.Hub) error {
	tokens, err := list(ctx, hub)
	if err != nil {
		return err
	}
	all := []shown{}
	for _, t := range tokens {
		all = append(all, shownOf(t))
	}
	switch o.format {
	case output.JSON, output.YAML:
		return output.Encode(o.Out, o.format, all)
	case output.Name:
		for _, t := range all {
			if _, err := fmt.Fprintln(o.Out, t.Name); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		o.Note("No tokens: `umbel token create NAME` makes one")
		return nil
	}
	return o.table(all)
}

func (o *listOptions) table(all []shown) error {
	table := output.Table{Headers: []string{"NAME", "POLICY", "USES", "EXPIRES", "LABELS"}, Palette: o.Palette(o.Out)}
	if o.format == output.Wide {
		table.Headers = append(table.Headers, "CLUSTERS")
	}
	var rows [][]output.Cell
	for _, t := range all {
		expires := output.Text(output.Until(t.Expires.Time, o.Now()))
		if !o.Now().Before(t.Expires.Time) {
			expires = output.Cell{Text: "expired", Tone: output.Doubtful}
		}
		row := []output.Cell{
			output.Text(t.Name), output.Text(string(t.Policy)),
			output.Text(fmt.Sprintf("%d/%d", t.Uses, t.MaxUses)), expires, output.Text(view.Labels(t.Labels)),
		}
		if o.format == output.Wide {
			row = append(row, output.Text(few(t.Clusters)))
		}
		rows = append(rows, row)
	}
	return table.Write(o.Out, rows)
}

// few names the first clusters, and counts the others: -o json has them all.
func few(clusters []v1alpha1.ClusterName) string {
	const most = 5
	text := ""
	for i, cluster := range clusters[:min(most, len(clusters))] {
		if i > 0 {
			text += ","
		}
		text += string(cluster)
	}
	if more := len(clusters) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
