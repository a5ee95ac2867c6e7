package capacity

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/span"
)

const (
	// pricesName is the ConfigMap with the price table, in the hub's own namespace, and pricesKey its key.
	pricesName, pricesKey = "umbel-prices", "prices.yaml"
	unknown               = "<unknown>" // as `umbel top` has it
)

// Options are the arguments of `umbel capacity`.
type Options struct {
	*client.Factory
	// By is by what is added up.
	By By
	// Clusters says by their labels which clusters count.
	Clusters string
	// Over is over how long it is averaged.
	Over time.Duration
	// NoHeaders leaves the header of the table out.
	NoHeaders bool
	// Format is how it is written.
	Format output.Format

	selector labels.Selector
}

const long = "how much is requested, used and left, and about what that costs a month.\n\n" +
	"It is the average of the last hour (--over), as agents measured it: clusters need the profile Minimal, namespaces and teams Standard. A namespace is\n" +
	"the team's that its label " + v1alpha1.TeamLabel + " names, on the cluster.\n\n" +
	"Prices are in the ConfigMap " + v1alpha1.SystemNamespace + "/" + pricesName + ". A cluster costs what it has; a namespace what it requests or uses, whichever is more."

// NewCmd returns the command `umbel capacity`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use: "capacity", Short: "Show what is requested, used and left of the fleet, and about what it costs", Long: "Show by cluster, namespace or team " + long,
		Example:    "  # all clusters, the dearest first; who uses them\n  umbel capacity clusters\n  umbel capacity teams --clusters env=prod",
		SuggestFor: []string{"cost", "costs", "usage"},
	}
	cmd.AddCommand(
		newCmd(f, Clusters, "  # all of them, over a day\n  umbel capacity clusters --over 24h"),
		newCmd(f, Namespaces, "  # of all namespaces in production, for a program\n  umbel capacity namespaces --clusters env=prod -o json"),
		newCmd(f, Teams, "  # what each team requests, uses and costs\n  umbel capacity teams --over 168h"),
	)
	return cmd
}

func newCmd(f *client.Factory, by By, example string) *cobra.Command {
	o := &Options{Factory: f, By: by, Over: time.Hour}
	cmd := &cobra.Command{
		Use: string(by), Short: fmt.Sprintf("Show by %s what is requested, used and left, and about what it costs", by[:len(by)-1]), Long: fmt.Sprintf("Show by %s ", by[:len(by)-1]) + long, Example: example,
		Aliases: []string{string(by[:len(by)-1])}, Args: exit.Takes(), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.selector, err = labels.Parse(o.Clusters); err != nil {
				return exit.Usagef("the selector %q cannot be read: %w", o.Clusters, err)
			}
			if o.Over < 5*time.Minute {
				return exit.Usagef("--over %s is too short: what is measured every minute takes 5m at least", o.Over)
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	cmd.Flags().StringVar(&o.Clusters, "clusters", "", "only clusters that have the `LABELS`, such as env=prod,region!=us")
	span.Var(cmd.Flags(), &o.Over, "over", "`DURATION` that is averaged, up to now")
	cmd.Flags().BoolVar(&o.NoHeaders, "no-headers", false, "leave the header of the table out")
	output.AddFlag(cmd, &o.Format, output.JSON, output.YAML)
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	return cmd
}

func (o *Options) run(ctx context.Context, hub *client.Hub) error {
	clusters, err := measured.Clusters(ctx, o.Factory, hub, o.Clusters, o.selector)
	if err != nil || len(clusters) == 0 {
		return err
	}
	table, err := o.prices(ctx, hub)
	if err != nil {
		return err
	}
	asker, err := measured.New(ctx, o.Factory, hub)
	if err != nil {
		return err
	}
	return o.show(ctx, asker, clusters, table)
}

// Read returns what the command would show of these clusters, in its order. Somebody who may not read prices gets all else.
func Read(ctx context.Context, f *client.Factory, by By, over time.Duration, clusters []v1alpha1.MemberCluster) ([]Row, error) {
	hub, err := f.Connect()
	if err != nil {
		return nil, err
	}
	o := &Options{Factory: f, By: by, Over: over}
	table, err := o.prices(ctx, hub)
	if err != nil {
		return nil, err
	}
	asker, err := measured.New(ctx, f, hub)
	if err != nil {
		return nil, err
	}
	return o.rows(ctx, asker, clusters, table)
}

// prices reads the table; nil without one. Who may not read it gets all else.
func (o *Options) prices(ctx context.Context, hub kube.Reader) (*prices, error) {
	table, err := tableOf(ctx, hub)
	if apierrors.IsForbidden(err) {
		o.Note("prices may not be read, so there are no costs: %v", err)
		return nil, nil
	}
	return table, err
}

// Cost is what something costs a month.
type Cost struct {
	Month    float64
	Currency string
}

// CostOf returns what so many cores and bytes of memory cost in a cluster with these labels, nil where the hub has no price for it.
func CostOf(ctx context.Context, hub kube.Reader, of map[string]string, cores, memory float64) (*Cost, error) {
	table, err := tableOf(ctx, hub)
	if err != nil || table == nil || table.of(of) == nil {
		return nil, err
	}
	return &Cost{Month: table.of(of).month(cores, memory), Currency: table.Currency}, nil
}

// tableOf reads the price table; nil without one.
func tableOf(ctx context.Context, hub kube.Reader) (*prices, error) {
	var kept corev1.ConfigMap
	err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: pricesName}, &kept)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	table, err := readPrices(kept.Data[pricesKey])
	if err != nil {
		return nil, fmt.Errorf("configmap %s/%s, %s: %w", v1alpha1.SystemNamespace, pricesName, pricesKey, err)
	}
	return table, nil
}

// show asks for what these clusters measured, and writes it.
func (o *Options) show(ctx context.Context, asker *measured.Asker, clusters []v1alpha1.MemberCluster, table *prices) error {
	rows, err := o.rows(ctx, asker, clusters, table)
	if err != nil {
		return err
	}
	return o.write(rows, table)
}

// rows asks for what these clusters measured.
func (o *Options) rows(ctx context.Context, asker *measured.Asker, clusters []v1alpha1.MemberCluster, table *prices) ([]Row, error) {
	names, asked, promql := measured.Names(clusters), questions[o.By != Clusters], []string(nil)
	over := fmt.Sprintf("%ds", int64(o.Over.Round(time.Second)/time.Second))
	for _, q := range asked {
		promql = append(promql, fmt.Sprintf(q.promql, over))
	}
	answers, err := asker.All(ctx, promql, names)
	if err != nil {
		return nil, err
	}
	var teams []measured.Sample
	if o.By != Clusters {
		if teams, err = asker.Query(ctx, teamsQuestion, names); err != nil {
			return nil, err
		}
	}
	rows := gather(asked, answers, teams, clusters)
	if table != nil {
		table.cost(rows, clusters)
	}
	if o.By == Teams {
		rows = byTeam(rows)
	}
	arrange(rows)
	return rows, nil
}

func (o *Options) write(rows []Row, table *prices) error {
	if o.Format != output.Human {
		return output.Encode(o.Out, o.Format, rows)
	}
	if len(rows) == 0 {
		o.Note("Nothing was measured: `umbel top clusters` says which clusters measure.")
		return nil
	}
	shown := output.Table{Palette: o.Palette(o.Out), HideHeaders: o.NoHeaders}
	switch o.By {
	case Clusters:
		shown.Headers = []string{"CLUSTER", "CPU", "REQUESTED", "USED", "MEMORY", "REQUESTED", "USED"}
	case Namespaces:
		shown.Headers = []string{"CLUSTER", "NAMESPACE", "TEAM", "CPU REQUESTED", "USED", "MEMORY REQUESTED", "USED"}
	case Teams:
		shown.Headers = []string{"TEAM", "CPU REQUESTED", "USED", "MEMORY REQUESTED", "USED"}
	}
	if table != nil {
		shown.Headers = append(shown.Headers, "COST/MONTH")
	}
	var cells [][]output.Cell
	for i := range rows {
		texts := o.texts(&rows[i])
		if table != nil {
			texts = append(texts, money(rows[i].Cost, rows[i].Currency))
		}
		cells = append(cells, output.Cells(texts...))
	}
	return shown.Write(o.Out, cells)
}

func (o *Options) texts(r *Row) []string {
	switch o.By {
	case Clusters:
		return []string{
			string(r.Cluster), cores(r.CPUOf), cores(r.CPURequested) + share(r.CPURequested, r.CPUOf), cores(r.CPUUsed) + share(r.CPUUsed, r.CPUOf),
			gibibytes(r.MemoryOf), gibibytes(r.MemoryRequested) + share(r.MemoryRequested, r.MemoryOf), gibibytes(r.MemoryUsed) + share(r.MemoryUsed, r.MemoryOf),
		}
	case Namespaces:
		return []string{string(r.Cluster), r.Namespace, r.Team, cores(r.CPURequested), cores(r.CPUUsed), gibibytes(r.MemoryRequested), gibibytes(r.MemoryUsed)}
	}
	team := r.Team
	if team == "" {
		team = "<none>"
	}
	return []string{team, cores(r.CPURequested), cores(r.CPUUsed), gibibytes(r.MemoryRequested), gibibytes(r.MemoryUsed)}
}

func cores(amount *float64) string {
	if amount == nil {
		return unknown
	}
	return fmt.Sprintf("%.2f", *amount)
}

func gibibytes(amount *float64) string {
	if amount == nil {
		return unknown
	}
	return fmt.Sprintf("%.1fGi", *amount/(1<<30))
}

func share(amount, of *float64) string {
	if amount == nil || of == nil || *of <= 0 {
		return ""
	}
	return fmt.Sprintf(" (%.0f%%)", 100**amount / *of)
}

func money(amount *float64, currency string) string {
	if amount == nil {
		return unknown
	}
	text := fmt.Sprintf("%.2f", *amount)
	if currency != "" {
		text += " " + currency
	}
	return text
}
