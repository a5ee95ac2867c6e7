package explain

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/view"
)

const examples = `  # why is it, or why is it not, on this cluster?
  umbel explain package shop --cluster prod-eu

  # which clusters does a placement select, and why not the others?
  umbel explain placement shops

  # everything that it asks of one cluster
  umbel explain placement shops --cluster dev

  # for a program
  umbel explain package shop --cluster prod-eu -o json`

// Options are the arguments of `umbel explain`.
type Options struct {
	*client.Factory
	// Cluster is the one that is asked about. For a placement it may be left out.
	Cluster string
	// Format is how it is written.
	Format output.Format

	kind kinds.Kind
	name string
}

// NewCmd returns the command `umbel explain`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "explain package|placement NAME [--cluster CLUSTER]",
		Short: "Say why a package is, or is not, on a cluster",
		Long: "Follow a package from its source to a cluster, step by step: what passed, what did not, since when, and what to do about it.\n" +
			"Of a placement it says which clusters it selects and what the others do not meet.",
		Example:           examples,
		SuggestFor:        []string{"why"},
		ValidArgsFunction: f.CompleteTarget(client.One, kinds.Packages.Plural, kinds.Placements.Plural),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.complete(args); err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().StringVar(&o.Cluster, "cluster", "", "the `CLUSTER` that is asked about")
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("cluster", func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return f.CompleteName(kinds.Clusters)(cmd, nil, typed)
	})
	output.AddFlag(cmd, &o.Format, output.JSON, output.YAML)
	return cmd
}

func (o *Options) complete(args []string) error {
	kind, names, err := kinds.Target(args)
	if err != nil {
		return err
	}
	if kind != kinds.Packages && kind != kinds.Placements {
		return exit.Usagef("packages and placements are explained; `umbel describe %s` tells about a %s", kind.Singular, kind.Singular)
	}
	if len(names) != 1 {
		return exit.Usagef("name one %s: `umbel get %s` lists them", kind.Singular, kind.Plural)
	}
	if kind == kinds.Packages && o.Cluster == "" {
		return exit.Usagef("say on which cluster: --cluster CLUSTER; `umbel describe package %s` shows how far each of them is", names[0])
	}
	o.kind, o.name = kind, names[0]
	if o.Cluster != "" {
		o.Cluster, err = kinds.Clusters.NameOf(o.Cluster)
	}
	return err
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	moment := view.Moment{Now: o.Now(), Pulse: hub.Pulse(ctx)}
	if warning := moment.Pulse.Warning(moment.Now); warning != "" {
		o.Note("%s", warning)
	}
	r := reader{hub: hub, namespace: o.Namespace}
	if o.kind == kinds.Placements && o.Cluster == "" {
		scene, err := r.survey(ctx, o.name)
		if err != nil {
			return err
		}
		verdicts := Survey(scene)
		return o.write(verdicts, func(p *page) error { return p.survey(verdicts) })
	}
	scene, err := r.scene(ctx, o.kind, o.name, o.Cluster)
	if err != nil {
		return err
	}
	account := Explain(scene, moment)
	return o.write(account, func(p *page) error { return p.account(account, moment) })
}

func (o *Options) write(value any, human func(*page) error) error {
	if o.Format == output.JSON || o.Format == output.YAML {
		return output.Encode(o.Out, o.Format, value)
	}
	if err := human(&page{out: o.Out, palette: o.Palette(o.Out)}); err != nil {
		return fmt.Errorf("writing the account: %w", err)
	}
	return nil
}
