package audit

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
)

const examples = `  # what happened in the last hour, and what is happening now
  umbel audit --since 1h
  umbel audit --follow

  # who deleted something in production's cluster in Europe this week
  umbel audit --cluster prod-eu --verb delete,deletecollection --since 7d

  # all that Ada did, for a program: events of audit.k8s.io/v1, one per line
  umbel audit --user ada@example.com --since 30d -o json

  # what the hub did by itself: packages told, certificates issued, agents refused, changes to its own objects
  umbel audit --user umbel:hub --since 24h -o wide`

// defaultSince is how far back is looked unless somebody says otherwise.
const defaultSince = 24 * time.Hour

// verbs are all that events have: Kubernetes' own, HTTP's for what is no resource, and what the hub does by itself.
var verbs = []string{
	"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy",
	"head", "options", "post", "put", "connect", "trace",
	"hold", "remove", "issue", "refuse", "detach", "lose",
}

// Options are the arguments of `umbel audit`.
type Options struct {
	*client.Factory
	Clusters []string
	User     string
	Verbs    []string
	// Since and Until are a duration before now, or a time of RFC 3339.
	Since, Until string
	Follow       bool
	Format       output.Format
}

// NewCmd returns the command `umbel audit`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who did what through the hub, and what the hub did by itself",
		Long: "Show who did what through the hub, on the hub's own API, and what the hub did by itself, the newest last.\n\n" +
			"That takes the verb get on memberclusters.umbel.dev/audit of the hub: on all for everything, on one, by its name, for what is\n" +
			"about that cluster. A cluster's own audit log has the same audit IDs.",
		Example:           examples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := o.query()
			if err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, query) })
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.Clusters, "cluster", nil, "`NAMES` of clusters that it is about")
	flags.StringVar(&o.User, "user", "", "`NAME` of who acted, as the hub or the cluster has it; the hub itself is "+audit.HubUser)
	flags.StringSliceVar(&o.Verbs, "verb", nil, "`VERBS` such as delete,create or, of the hub itself, hold,remove,issue,refuse,detach")
	flags.StringVar(&o.Since, "since", span.Text(defaultSince), "how far back: `DURATION` or time, such as 1h, 7d or 2026-11-22T12:00:00Z")
	flags.StringVar(&o.Until, "until", "", "up to when: `DURATION` before now or time")
	flags.BoolVarP(&o.Follow, "follow", "f", false, "go on with what happens from now on until interrupted, which is no failure (exit code 0)")
	output.AddFlag(cmd, &o.Format, output.Wide, output.JSON, output.YAML)
	// They fail for flags that do not exist only.
	_ = cmd.RegisterFlagCompletionFunc("cluster", f.CompleteName(kinds.Clusters))
	_ = cmd.RegisterFlagCompletionFunc("verb", cobra.FixedCompletions(verbs, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"user", "since", "until"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return cmd
}

// query is what is asked for.
func (o *Options) query() (audit.Query, error) {
	q := audit.Query{User: o.User, Verbs: o.Verbs, Follow: o.Follow}
	for _, name := range o.Clusters {
		cluster := v1alpha1.ClusterName(name)
		if !v1alpha1.ValidClusterName(cluster) {
			return q, exit.Usagef("--cluster %q is no name of a cluster", name)
		}
		q.Clusters = append(q.Clusters, cluster)
	}
	for _, verb := range o.Verbs {
		if !slices.Contains(verbs, verb) {
			return q, exit.Usagef("--verb %q is in no event: the verbs are %s", verb, strings.Join(verbs, ", "))
		}
	}
	var err error
	if q.Since, err = span.Moment(o.Since, o.Now()); err != nil {
		return q, exit.Usagef("--since: %w", err)
	}
	if q.Until, err = span.Moment(o.Until, o.Now()); err != nil {
		return q, exit.Usagef("--until: %w", err)
	}
	switch {
	case q.Follow && !q.Until.IsZero():
		return q, exit.Usagef("give --follow or --until, not both")
	case !q.Until.IsZero() && q.Until.Before(q.Since):
		return q, exit.Usagef("--until %s is before --since %s", o.Until, o.Since)
	}
	return q, nil
}
