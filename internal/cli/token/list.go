package token

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

func newListCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens with which clusters register themselves",
		Long:  "List the tokens with which clusters register themselves: how often each was used, and until when it may be.",
		Example: `  # the tokens that there are
  umbel token list`,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return printList(ctx, f, hub) })
		},
	}
}

func printList(ctx context.Context, f *client.Factory, hub *client.Hub) error {
	tokens, err := list(ctx, hub)
	if err != nil {
		return err
	}
	if len(tokens) == 0 {
		f.Note("No tokens: `umbel token create NAME` makes one")
		return nil
	}
	table := output.Table{Headers: []string{"NAME", "POLICY", "USES", "EXPIRES", "LABELS"}, Palette: f.Palette(f.Out)}
	var rows [][]output.Cell
	for _, t := range tokens {
		expires := output.Text(output.Until(t.token.Expires.Time, f.Now()))
		if !f.Now().Before(t.token.Expires.Time) {
			expires = output.Cell{Text: "expired", Tone: output.Doubtful}
		}
		rows = append(rows, []output.Cell{
			output.Text(t.name), output.Text(string(t.token.Policy)),
			output.Text(fmt.Sprintf("%d/%d", len(t.token.Uses), t.token.MaxUses)), expires, output.Text(view.Labels(t.token.Labels)),
		})
	}
	return table.Write(f.Out, rows)
}
