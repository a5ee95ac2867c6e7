package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/route"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/ascent"
)

const upgradeExamples = `  # what would be done, and which deprecated APIs are in use?
  umbel cluster upgrade dev --version 1.36 --dry-run

  # the control plane, and then all pools of machines
  umbel cluster upgrade dev --version 1.36

  # the control plane now, and the pools one by one when it suits
  umbel cluster upgrade dev --version 1.36 --control-plane-only
  umbel cluster upgrade dev --pool workers

  # all clusters of a label: one, and when that was well for ten minutes a tenth of them at a time
  umbel cluster upgrade --clusters env=prod --version 1.36 --canary 1 --bake 10m`

// askTime is how long a cluster's API may take to say which deprecated APIs are in use.
const askTime = 20 * time.Second

// upgradeOptions are the arguments of `umbel cluster upgrade`.
type upgradeOptions struct {
	*client.Factory
	name            string
	wish            ascent.Wish
	planeOnly       bool
	waves           waves
	dryRun, removed bool
	timeout         time.Duration
}

func newUpgradeCmd(f *client.Factory) *cobra.Command {
	o := &upgradeOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "upgrade [NAME]",
		Short: "Bring a cluster, or many, to another version of Kubernetes",
		Long: "Bring a cluster to another version of Kubernetes, one minor at a time: the control plane, and then its pools of machines.\n\n" +
			"Deprecated APIs that are in use are listed before anything is changed; while some are that the new version does not serve, nothing is.\n" +
			"A machine that goes is drained first, as the PodDisruptionBudgets of its pods allow. Which versions there are, the class of the cluster\n" +
			"says: `umbel provider list -o wide` shows those of this machine.\n\n" +
			"With --clusters a Rollout brings those clusters there that the hub makes and the labels select, stage by stage: `umbel rollout` shows how\n" +
			"far it is, and pauses, approves or ends it. A cluster that is more than one minor behind, or not at work, waits, and follows.",
		Example:           upgradeExamples,
		Args:              exit.Args(atMostOne),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.waves.checkFlags(cmd.Flags(), args); err != nil {
				return err
			}
			if len(args) == 0 {
				return f.OnHub(cmd.Context(), o.runWaves)
			}
			o.name = args[0]
			switch {
			case o.planeOnly:
				o.wish.Scope = ascent.PlaneOnly
			case o.wish.Pool != "":
				o.wish.Scope = ascent.OnePool
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().StringVar(&o.wish.Version, "version", "", "`VERSION` of Kubernetes, such as 1.36 (default: the newest of the class that is at most one minor away)")
	cmd.Flags().BoolVar(&o.planeOnly, "control-plane-only", false, "leave the pools of machines where they are")
	cmd.Flags().StringVar(&o.wish.Pool, "pool", "", "`POOL` of machines to bring to the version of the control plane, and no other")
	cmd.Flags().BoolVar(&o.removed, "despite-removed-apis", false, "also when APIs are in use that the new version does not serve")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
	cmd.MarkFlagsMutuallyExclusive("control-plane-only", "pool")
	o.waves.addFlags(cmd.Flags())
	output.AddFlag(cmd, &o.waves.format, output.JSON, output.YAML)
	_ = cmd.RegisterFlagCompletionFunc("clusters", f.CompleteLabels(kinds.Clusters))
	for _, name := range append([]string{"pool", "version"}, onlyWaves...) {
		if name != "output" { // it fails for a flag that does not exist only
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
		}
	}
	o.timeout = 15 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the new version")
	return cmd
}

func atMostOne(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%q is too much", args[1])
	}
	return nil
}

func (o *upgradeOptions) run(ctx context.Context, hub *client.Hub) error {
	key := kube.ObjectKey{Namespace: o.Namespace, Name: o.name}
	c, cluster, err := o.plan(ctx, hub, key)
	if err == nil && !o.dryRun {
		err = atWork(cluster)
	}
	if err != nil {
		return err
	}
	if c.Idle() {
		o.Note("cluster %s is to have Kubernetes %s already: nothing is changed", o.name, c.To)
	} else if err := o.begin(ctx, hub, key, c); err != nil {
		return err
	}
	if o.dryRun {
		return nil
	}
	return o.arrive(ctx, hub, key, c)
}

// begin changes what is wanted of a cluster, or says what would be changed.
func (o *upgradeOptions) begin(ctx context.Context, hub *client.Hub, key kube.ObjectKey, c ascent.Climb) error {
	if c.From != c.To {
		if err := o.lookForDeprecated(ctx, hub, c); err != nil {
			return err
		}
	}
	if o.dryRun {
		_, err := fmt.Fprintln(o.Out, strings.Join(c.Lines(), "\n"))
		return err
	}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // its status changes all the time
		again, cluster, err := o.plan(ctx, hub, key)
		if err != nil {
			return err
		}
		ordered, err := again.Order(cluster)
		if err != nil {
			return err
		}
		return whenServed(ctx, func() error {
			return hub.Patch(ctx, ordered, kube.MergeFromWithOptions(cluster, kube.MergeFromWithOptimisticLock{}))
		})
	})
	if err != nil {
		return fmt.Errorf("upgrading cluster %s: %w", o.name, err)
	}
	return nil
}

// arrive waits until a cluster has what is wanted of it, whoever wanted that first, and the fleet knows it.
func (o *upgradeOptions) arrive(ctx context.Context, hub *client.Hub, key kube.ObjectKey, c ascent.Climb) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	stages := []stage{servesStage(c.To)}
	for _, name := range c.Scoped {
		stages = append(stages, poolStage(ctx, hub, key, name, c.To))
	}
	if err := follow(ctx, hub, view, key, stages...); err != nil {
		return err
	}
	cluster, err := find(ctx, hub, key)
	if err != nil {
		return err
	}
	member := &v1alpha1.MemberCluster{}
	err = hub.Get(ctx, kube.ObjectKey{Name: o.name}, member)
	if err != nil || !expected(cluster, member) {
		return kube.IgnoreNotFound(err)
	}
	return joined(ctx, hub, view, o.name) // the fleet may not have heard yet that its API is back
}

// expected says whether the agent of a cluster is to come back: nobody has it be a member otherwise, it never came, or it has no
// machine to run on.
func expected(cluster *unstructured.Unstructured, member *v1alpha1.MemberCluster) bool {
	_, machines := pools(cluster)
	var all int64
	for _, n := range machines {
		all += n
	}
	return member.Annotations[v1alpha1.ManagedAnnotation] == cluster.GetNamespace()+"/"+cluster.GetName() && member.Status.Identity != nil && all > 0
}

// plan reads what an upgrade begins from, and plans it.
func (o *upgradeOptions) plan(ctx context.Context, hub kube.Reader, key kube.ObjectKey) (ascent.Climb, *unstructured.Unstructured, error) {
	cluster, err := find(ctx, hub, key)
	if err != nil {
		return ascent.Climb{}, nil, err
	}
	g, err := ascent.Survey(ctx, hub, cluster)
	if err != nil {
		return ascent.Climb{}, nil, err
	}
	c, err := ascent.Plan(o.wish, g)
	if err != nil {
		return c, nil, fmt.Errorf("cluster %q cannot be upgraded: %s", o.name, strings.ReplaceAll(err.Error(), "\n", "; and "))
	}
	return c, cluster, nil
}

// servesStage is reached when all of the control plane serves a version.
func servesStage(wanted string) stage {
	return stage{name: "control plane at " + wanted, reached: func(c *unstructured.Unstructured) (bool, string) {
		served := ascent.Serves(c)
		if len(served) == 1 && served[0] == wanted {
			return true, ""
		}
		if reconciled := conditionOf(c, "TopologyReconciled"); reconciled.status == "False" && reconciled.message != "" {
			return false, reconciled.message
		}
		return false, "it serves " + strings.Join(served, " and ")
	}}
}

// poolStage is reached when all machines of a pool are of a version, and at work.
func poolStage(ctx context.Context, hub kube.Reader, key kube.ObjectKey, name, wanted string) stage {
	return stage{name: fmt.Sprintf("pool %s at %s", name, wanted), reached: func(*unstructured.Unstructured) (bool, string) {
		d, err := ascent.PoolOf(ctx, hub, key, name)
		if err != nil || d == nil {
			return false, "it cannot be read just now"
		}
		if has := ascent.VersionOf(d); has != wanted {
			return false, "it waits for its turn, at " + has
		}
		machines, err := list(ctx, hub, kind("Machine"), kube.InNamespace(key.Namespace), kube.MatchingLabels{"cluster.x-k8s.io/cluster-name": key.Name, ascent.PoolLabel: name})
		if err != nil {
			return false, "its machines cannot be read just now"
		}
		return arrived(machines, number(d, "spec", "replicas"), wanted)
	}}
}

// arrived says whether a pool has as many machines as it is to have, all of a version and at work. Its own counters lag behind its
// version: they are those of the old machines still when that is new.
func arrived(machines []unstructured.Unstructured, all int64, wanted string) (bool, string) {
	var current int64
	for i := range machines {
		m := &machines[i]
		if text(m, "spec", "version") == wanted && m.GetDeletionTimestamp().IsZero() && conditionOf(m, "Available").status == "True" {
			current++
		}
	}
	return current == all && int64(len(machines)) == all, fmt.Sprintf("%d of %d machines are new and at work, %d are there", current, all, len(machines))
}

// lookForDeprecated lists which deprecated APIs are in use in the cluster, and fails when that bars the upgrade.
func (o *upgradeOptions) lookForDeprecated(ctx context.Context, hub *client.Hub, c ascent.Climb) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	metrics, err := o.ask(ctx, hub, c.Planes)
	if err != nil && ctx.Err() == nil && o.removed {
		o.Note("which deprecated APIs are in use in %s is not known: %v", o.name, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cluster %q is not upgraded, since it is not known which deprecated APIs are in use: %w; --despite-removed-apis goes on without", o.name, err)
	}
	all, asked := ascent.DeprecatedIn(metrics...), int64(len(metrics))
	for _, d := range all {
		o.Note("in use in %s: %s", o.name, d)
	}
	if len(all) == 0 {
		o.Note("no deprecated API has been in use in %s since its API server started", o.name)
	}
	if asked < c.Planes {
		o.Note("that is known of %d of the %d API servers of %s", asked, c.Planes, o.name)
	}
	if err := c.Barred(all, asked); err != nil && !o.removed {
		return fmt.Errorf("cluster %q cannot be upgraded: %w", o.name, err)
	}
	return nil
}

// ask returns what the API servers of the cluster count: of several each itself, where they can be reached from here and who asks may read
// the cluster's kubeconfig; of one, and where they cannot, the one that answers through the hub.
func (o *upgradeOptions) ask(ctx context.Context, hub *client.Hub, planes int64) ([]string, error) {
	var each error
	if planes > 1 {
		asking, cancel := context.WithTimeout(ctx, askTime/2)
		defer cancel()
		all, err := ascent.AskAll(asking, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name}, planes)
		if err == nil {
			return all, nil
		}
		each = errors.New(err.Error()) // who does not answer is none of the hub's, whose absence is told of otherwise
	}
	one, err := o.metrics(ctx, hub)
	if err != nil && each != nil {
		return nil, fmt.Errorf("%w; nor through the hub: %w", each, err)
	}
	if err != nil {
		return nil, err
	}
	if each != nil {
		o.Note("not all API servers of %s can be asked from here: %v", o.name, each)
	}
	return []string{one}, nil
}

// metrics returns what the API server of the cluster counts that answers through the hub.
func (o *upgradeOptions) metrics(ctx context.Context, hub *client.Hub) (string, error) {
	own, err := o.LoadKubeconfig()
	if err != nil {
		return "", err
	}
	door, err := route.Find(ctx, hub, hub.Config)
	if err != nil {
		return "", err
	}
	config, err := clientcmd.NewDefaultClientConfig(*door.Kubeconfig(own, v1alpha1.ClusterName(o.name)), nil).ClientConfig()
	if err != nil {
		return "", err
	}
	member, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	raw, err := member.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the metrics of its API server through the hub: %w", err)
	}
	return string(raw), nil
}
