package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
)

// scaleOptions are the arguments of `umbel cluster scale`.
type scaleOptions struct {
	*client.Factory
	name, pool string
	workers    int
	planes     int
	follows    *bounds
	timeout    time.Duration
}

func newScaleCmd(f *client.Factory) *cobra.Command {
	o := &scaleOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "scale NAME (--workers NUMBER | --control-plane NUMBER)",
		Short: "Give a cluster more machines, or fewer",
		Long: "Give a cluster more machines, or fewer, and return when it has them.\n\n" +
			"A machine that goes is drained first, as the PodDisruptionBudgets of its pods allow. A control plane with 1 member, or 3, of which\n" +
			"one may be lost, becomes the other one, and its API serves meanwhile.",
		Example:           "  umbel cluster scale dev --workers 3\n  umbel cluster scale dev --control-plane 3",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if o.workers < 0 {
				return exit.Usagef("--workers is %d: 0 or more", o.workers)
			}
			if cmd.Flags().Changed("control-plane") {
				return f.OnHub(cmd.Context(), o.runPlanes)
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().IntVar(&o.workers, "workers", 1, "`NUMBER` of machines")
	cmd.Flags().StringVar(&o.pool, "pool", "", "`POOL` of machines, where there are several")
	cmd.Flags().IntVar(&o.planes, "control-plane", 1, "`NUMBER` of members of the control plane: 1 or 3")
	cmd.MarkFlagsOneRequired("workers", "control-plane")
	cmd.MarkFlagsMutuallyExclusive("workers", "control-plane")
	cmd.MarkFlagsMutuallyExclusive("pool", "control-plane")
	_ = cmd.RegisterFlagCompletionFunc("pool", cobra.NoFileCompletions) // likewise
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the machines")
	return cmd
}

func (o *scaleOptions) run(ctx context.Context, hub *client.Hub) error {
	key := kube.ObjectKey{Namespace: o.Namespace, Name: o.name}
	cluster, err := find(ctx, hub, key)
	if err == nil {
		err = atWork(cluster)
	}
	if err != nil {
		return err
	}
	i, err := choosePool(cluster, o.pool)
	if err != nil {
		return err
	}
	more := poolsOf(cluster)[i]
	more.Replicas = int64(o.workers) - more.Replicas
	if err := askForMore(ctx, o.Factory, hub, cluster, more); err != nil {
		return err
	}
	// The version of what was read is tested: the pools might be others by now.
	patch, err := json.Marshal(resized(cluster, i, machinePool{Replicas: int64(o.workers), Follows: o.follows}))
	if err != nil {
		return err
	}
	if err := whenServed(ctx, func() error { return hub.Patch(ctx, cluster, kube.RawPatch(types.JSONPatchType, patch)) }); err != nil {
		return fmt.Errorf("scaling cluster %s: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	return follow(ctx, hub, view, key, machinesStage(ctx, hub, key))
}

// askForMore asks the infrastructure of a cluster whether it would take some machines more. A number that is not more asks nothing.
func askForMore(ctx context.Context, f *client.Factory, hub kube.Reader, cluster *unstructured.Unstructured, more machinePool) error {
	if more.Replicas <= 0 {
		return nil
	}
	class, err := readClass(ctx, hub, cluster)
	if err != nil {
		f.Note("Nobody was asked whether there is room for the machines: %v", err)
		return nil
	}
	if err := (growth{cluster: cluster, class: class, pools: []machinePool{more}}).ask(ctx, f, hub); err != nil {
		return fmt.Errorf("cluster %q gets no more machines: %s", cluster.GetName(), strings.ReplaceAll(err.Error(), "\n", "; and "))
	}
	return nil
}

// runPlanes gives the control plane more members, or fewer.
func (o *scaleOptions) runPlanes(ctx context.Context, hub *client.Hub) error {
	key := kube.ObjectKey{Namespace: o.Namespace, Name: o.name}
	cluster, err := find(ctx, hub, key)
	if err == nil {
		err = atWork(cluster)
	}
	if err != nil {
		return err
	}
	if err := checkPlanes(wish{class: text(cluster, "spec", "topology", "classRef", "name"), planes: o.planes}); err != nil {
		return fmt.Errorf("scaling cluster %s: %w", o.name, err)
	}
	patch := fmt.Sprintf(`{"spec":{"topology":{"controlPlane":{"replicas":%d}}}}`, o.planes)
	if err := whenServed(ctx, func() error { return hub.Patch(ctx, cluster, mergePatch(patch)) }); err != nil {
		return fmt.Errorf("scaling cluster %s: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	return follow(ctx, hub, view, key, membersStage)
}
