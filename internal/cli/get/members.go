package get

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/span"
)

// membersTimeout is how long a cluster may take to answer, unless somebody says otherwise.
const membersTimeout = 10 * time.Second

// membersOptions are the flags of `umbel get` that make it ask the clusters and not the hub.
type membersOptions struct {
	// Clusters says by their labels which are asked.
	Clusters string
	// AllClusters asks every one.
	AllClusters bool
	// Fields restricts objects by their fields.
	Fields string
	// Timeout is how long a cluster may take.
	Timeout time.Duration
}

func (m *membersOptions) addFlags(cmd *cobra.Command, f *client.Factory) {
	cmd.Flags().StringVar(&m.Clusters, "clusters", "", "ask the clusters that have the `LABELS`, such as env=prod,region!=us, for objects of any kind")
	cmd.Flags().BoolVar(&m.AllClusters, "all-clusters", false, "ask every cluster for objects of any kind")
	cmd.Flags().StringVar(&m.Fields, "field-selector", "", "`FIELDS` that the objects have, such as status.phase!=Running (with --clusters)")
	m.Timeout = membersTimeout
	span.Var(cmd.Flags(), &m.Timeout, "timeout", "`DURATION` that a cluster may take to answer (with --clusters)")
	// They fail for flags that do not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	_ = cmd.RegisterFlagCompletionFunc("field-selector", cobra.NoFileCompletions)
}

// asked says whether the clusters are.
func (m *membersOptions) asked() bool { return m.AllClusters || m.Clusters != "" }

// given checks that the flags go together.
func (m *membersOptions) given(cmd *cobra.Command) error {
	if m.AllClusters && m.Clusters != "" {
		return exit.Usagef("give --clusters or --all-clusters, not both")
	}
	if cmd.Flags().Changed("clusters") && m.Clusters == "" {
		return exit.Usagef("--clusters is empty: --all-clusters asks every cluster")
	}
	for _, flag := range []string{"field-selector", "timeout"} {
		if cmd.Flags().Changed(flag) && !m.asked() {
			return exit.Usagef("--%s is for objects of clusters: add --clusters LABELS or --all-clusters", flag)
		}
	}
	if m.asked() && cmd.Flags().Changed("watch") {
		return exit.Usagef("clusters cannot be watched together: leave --watch out, or watch one with `umbel kubectl`")
	}
	return nil
}

// readMembers asks the clusters.
func (o *Options) readMembers(ctx context.Context, args []string) error {
	clusters, err := labels.Parse(o.Members.Clusters)
	if err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.Members.Clusters, err)
	}
	if _, err := labels.Parse(o.Selector); err != nil {
		return exit.Usagef("the selector %q cannot be read: %w", o.Selector, err)
	}
	query := fleet.Query{Namespace: o.Namespace, Labels: o.Selector, Fields: o.Members.Fields, Timeout: o.Members.Timeout, Late: "--timeout gives it longer"}
	if o.Everywhere {
		query.Namespace = ""
	}
	if err := query.Parse(args); err != nil {
		return err
	}
	return o.OnHub(ctx, func(ctx context.Context, hub *client.Hub) error {
		reader := fleet.Reader{Factory: o.Factory, Hub: hub, Clusters: clusters}
		return reader.Read(ctx, query, fleet.Writer{Streams: o.Streams, Format: o.Format, NoHeaders: o.NoHeaders})
	})
}
