package cluster

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
)

const poolExamples = `  # two more machines, with a label that pods can ask for
  umbel cluster pool add dev big --workers 2 --labels node.cluster.x-k8s.io/size=big

  # one for pods alone that tolerate it
  umbel cluster pool add dev gpu --workers 1 --labels node.cluster.x-k8s.io/gpu=yes --taint gpu=yes:NoSchedule

  # which pools has it?
  umbel cluster pool list dev

  # none of them for the night
  umbel cluster pool scale dev big --workers 0

  # as many as its pods need
  umbel cluster pool scale dev big --min 0 --max 3`

// poolOptions are the arguments of the verbs of `umbel cluster pool`.
type poolOptions struct {
	*client.Factory
	cluster string
	pool    machinePool
	taints  []string
	follows bounds
	idle    time.Duration
	yes     bool
	format  output.Format
	timeout time.Duration
}

func newPoolCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Give a cluster pools of machines",
		Long: "Give a cluster pools of machines. The machines of a pool are alike, and their nodes have its taints, and its labels: those of\n" +
			"node.cluster.x-k8s.io, node-restriction.kubernetes.io and node-role.kubernetes.io, which Cluster API keeps on nodes.",
		Example: poolExamples,
	}
	cmd.AddCommand(newPoolListCmd(f), newPoolAddCmd(f), newPoolScaleCmd(f), newPoolDeleteCmd(f))
	return cmd
}

// verb makes the command of a verb: the cluster is its first argument, and the pool the second, if it has one.
func (o *poolOptions) verb(cmd *cobra.Command, run func(context.Context, *client.Hub, *unstructured.Unstructured) error) *cobra.Command {
	clusters := complete(o.Factory)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return clusters(cmd, args, typed)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.cluster = args[0]
		if len(args) > 1 {
			o.pool.Name = args[1]
		}
		return o.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
			c, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.cluster})
			if err != nil {
				return err
			}
			return run(ctx, hub, c)
		})
	}
	o.AddNamespaceFlag(cmd)
	return cmd
}

func newPoolListCmd(f *client.Factory) *cobra.Command {
	o := &poolOptions{Factory: f}
	cmd := o.verb(&cobra.Command{
		Use: "list CLUSTER", Aliases: []string{"ls", "get"}, Short: "List the pools of a cluster", Long: "List the pools of a cluster, how many machines each is to have and in which zone, and the labels and taints of their nodes.",
		Example: "  umbel cluster pool list dev", Args: exit.Takes("CLUSTER"),
	}, func(_ context.Context, _ *client.Hub, c *unstructured.Unstructured) error { return o.list(c) })
	output.AddFlag(cmd, &o.format, output.Wide, output.JSON, output.YAML, output.Name)
	return cmd
}

func newPoolAddCmd(f *client.Factory) *cobra.Command {
	o := &poolOptions{Factory: f}
	var cmd *cobra.Command
	cmd = o.verb(&cobra.Command{
		Use: "add CLUSTER POOL", Short: "Give a cluster one more pool", Long: "Give a cluster one more pool of machines, and return when it has them. With --min and --max their number follows the pods.",
		Example: "  umbel cluster pool add dev big --workers 2 --labels node.cluster.x-k8s.io/size=big", Args: exit.Takes("CLUSTER", "POOL"),
	}, func(ctx context.Context, hub *client.Hub, c *unstructured.Unstructured) error {
		if err := o.sized(cmd); err != nil {
			return err
		}
		return o.add(ctx, hub, c)
	})
	cmd.Flags().StringVar(&o.pool.Class, "class", "", "`CLASS` of the machines (default: that of the first pool, or the first that the cluster's class has)")
	cmd.Flags().StringVar(&o.pool.Zone, "zone", "", "`ZONE` that the machines are in, by its name in the infrastructure (default: what the class says)")
	cmd.Flags().StringToStringVarP(&o.pool.Labels, "labels", "l", nil, "`KEY=VALUE,...` of the nodes")
	cmd.Flags().StringArrayVar(&o.taints, "taint", nil, "`KEY=VALUE:EFFECT` of the nodes: pods stay away that do not tolerate it; can be given several times")
	o.sizeFlags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("class", cobra.NoFileCompletions) // it fails for a flag that does not exist only
	return cmd
}

func newPoolScaleCmd(f *client.Factory) *cobra.Command {
	o := &poolOptions{Factory: f}
	var cmd *cobra.Command
	cmd = o.verb(&cobra.Command{
		Use: "scale CLUSTER POOL (--workers NUMBER | --min NUMBER --max NUMBER)", Short: "Give a pool more machines, or fewer",
		Long: "Give a pool more machines, or fewer, or none, and return when it has them. A machine that goes is drained first.\n\n" +
			"With --min and --max their number follows the pods from then on: it grows when no node has room for a pod, and shrinks when the pods of\n" +
			"a machine ask for less than half of it, and have room elsewhere, for as long as --idle says. With --workers it stays as it is told again.",
		Example: "  umbel cluster pool scale dev big --workers 0\n  umbel cluster pool scale dev big --min 0 --max 3", Args: exit.Takes("CLUSTER", "POOL"),
	}, func(ctx context.Context, hub *client.Hub, _ *unstructured.Unstructured) error {
		if err := o.sized(cmd); err != nil {
			return err
		}
		scale := &scaleOptions{Factory: f, name: o.cluster, pool: o.pool.Name, workers: int(o.pool.Replicas), follows: o.pool.Follows, timeout: o.timeout}
		return scale.run(ctx, hub)
	})
	o.sizeFlags(cmd)
	cmd.MarkFlagsOneRequired("workers", "min")
	return cmd
}

func newPoolDeleteCmd(f *client.Factory) *cobra.Command {
	o := &poolOptions{Factory: f}
	cmd := o.verb(&cobra.Command{
		Use: "delete CLUSTER POOL", Short: "Take a pool from a cluster, and end its machines",
		Long:    "Take a pool from a cluster, and return when its machines have ended. Each is drained first, as the PodDisruptionBudgets of its pods allow.",
		Example: "  umbel cluster pool delete dev big", Args: exit.Takes("CLUSTER", "POOL"),
	}, o.remove)
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	o.timeoutFlag(cmd)
	return cmd
}

func (o *poolOptions) sizeFlags(cmd *cobra.Command) {
	cmd.Flags().Int64Var(&o.pool.Replicas, "workers", 1, "`NUMBER` of machines")
	cmd.Flags().Int64Var(&o.follows.Min, "min", 0, "`NUMBER` of machines at least, where it follows the pods")
	cmd.Flags().Int64Var(&o.follows.Max, "max", 0, "`NUMBER` of machines at most, where it follows the pods")
	span.Var(cmd.Flags(), &o.idle, "idle", "`DURATION` for which a machine is not needed before it goes, where their number follows the pods (default 10m)")
	cmd.MarkFlagsRequiredTogether("min", "max")
	cmd.MarkFlagsMutuallyExclusive("workers", "min")
	cmd.MarkFlagsMutuallyExclusive("workers", "idle")
	o.timeoutFlag(cmd)
}

// sized reads how many machines the pool is to have.
func (o *poolOptions) sized(cmd *cobra.Command) error {
	if !cmd.Flags().Changed("max") {
		if o.pool.Replicas < 0 {
			return exit.Usagef("--workers is %d: 0 or more", o.pool.Replicas)
		}
		if o.idle != 0 {
			return exit.Usagef("--idle is for a pool whose machines follow the pods: give --min and --max too")
		}
		return nil
	}
	if o.idle != 0 {
		o.follows.Idle = o.idle.String()
	}
	o.pool.Replicas, o.pool.Follows = 0, &o.follows
	if err := o.follows.check(); err != nil {
		return exit.Usage(err)
	}
	return nil
}

func (o *poolOptions) timeoutFlag(cmd *cobra.Command) {
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the machines")
}

func (o *poolOptions) list(c *unstructured.Unstructured) error {
	all := poolsOf(c)
	switch o.format {
	case output.JSON, output.YAML:
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
		o.Note("Cluster %s has no pools: `umbel cluster pool add %s NAME` gives it one", o.cluster, o.cluster)
		return nil
	}
	var rows [][]output.Cell
	for _, p := range all {
		var labels []string
		for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
			labels = append(labels, key+"="+p.Labels[key])
		}
		rows = append(rows, output.Cells(p.Name, p.Class, p.size(), p.Zone, strings.Join(labels, ","), strings.Join(each(p.Taints, poolTaint.String), ",")))
	}
	table := output.Table{Headers: []string{"NAME", "CLASS", "WORKERS", "ZONE", "LABELS", "TAINTS"}, Palette: o.Palette(o.Out)}
	return table.Write(o.Out, rows)
}

func (o *poolOptions) add(ctx context.Context, hub *client.Hub, c *unstructured.Unstructured) error {
	if err := atWork(c); err != nil {
		return err
	}
	for _, text := range o.taints {
		t, err := parseTaint(text)
		if err != nil {
			return exit.Usage(err)
		}
		o.pool.Taints = append(o.pool.Taints, t)
	}
	if o.pool.Class == "" {
		var err error
		if o.pool.Class, err = classOf(ctx, hub, c); err != nil {
			return err
		}
	}
	patch, err := addition(c, o.pool)
	if err == nil {
		err = askForMore(ctx, o.Factory, hub, c, o.pool)
	}
	if err != nil {
		return err
	}
	return o.change(ctx, hub, c, patch)
}

// classOf returns the class that a cluster's machines have, unless another one is asked for.
func classOf(ctx context.Context, hub kube.Reader, c *unstructured.Unstructured) (string, error) {
	if there := poolsOf(c); len(there) > 0 {
		return there[0].Class, nil
	}
	class, err := readClass(ctx, hub, c)
	if err != nil {
		return "", err
	}
	return chooseWorkers(wish{class: class.GetName(), workers: 1}, class)
}

// readClass reads the class of a cluster.
func readClass(ctx context.Context, hub kube.Reader, c *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	name := text(c, "spec", "topology", "classRef", "name")
	class := &unstructured.Unstructured{}
	class.SetGroupVersionKind(kind("ClusterClass"))
	key := kube.ObjectKey{Namespace: cmp.Or(text(c, "spec", "topology", "classRef", "namespace"), c.GetNamespace()), Name: name}
	if err := hub.Get(ctx, key, class); err != nil {
		return nil, fmt.Errorf("reading the class %q of cluster %s: %w", name, c.GetName(), err)
	}
	return class, nil
}

func (o *poolOptions) remove(ctx context.Context, hub *client.Hub, c *unstructured.Unstructured) error {
	i, err := choosePool(c, o.pool.Name)
	if err == nil {
		err = atWork(c)
	}
	if err != nil {
		return err
	}
	machines, err := list(ctx, hub, kind("Machine"), kube.InNamespace(o.Namespace), kube.MatchingLabels{
		"cluster.x-k8s.io/cluster-name": o.cluster, "topology.cluster.x-k8s.io/deployment-name": o.pool.Name,
	})
	if err != nil {
		return err
	}
	names := strings.Join(each(machines, func(m unstructured.Unstructured) string { return m.GetName() }), ", ")
	fmt.Fprintf(o.Err, "Pool %s of cluster %s ends, with its machines: %s\n", o.pool.Name, o.cluster, cmp.Or(names, "none"))
	if !o.yes {
		if err := confirm(o.Factory, "Delete it?", "nothing was deleted: --yes answers for you"); err != nil {
			return err
		}
	}
	return o.change(ctx, hub, c, removal(c, i))
}

// change patches the Cluster, and waits until it has the machines that it is to have.
func (o *poolOptions) change(ctx context.Context, hub *client.Hub, c *unstructured.Unstructured, patch []any) error {
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if err := whenServed(ctx, func() error { return hub.Patch(ctx, c, kube.RawPatch(types.JSONPatchType, raw)) }); err != nil {
		return fmt.Errorf("changing the pools of cluster %s: %w", o.cluster, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	key := kube.ObjectKeyFromObject(c)
	return follow(ctx, hub, view, key, machinesStage(ctx, hub, key))
}

// confirm wants a yes, after what is at stake was shown.
func confirm(f *client.Factory, question, otherwise string) error {
	fmt.Fprintf(f.Err, "\n%s Type yes to go on: ", question)
	said, err := bufio.NewReader(f.In).ReadString('\n')
	if err != nil {
		fmt.Fprintln(f.Err) // nobody ended the line
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading your answer: %w", err)
	}
	if strings.TrimSpace(said) != "yes" {
		return errors.New(otherwise)
	}
	return nil
}
