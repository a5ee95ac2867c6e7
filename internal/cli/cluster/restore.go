package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
)

// restoreOptions are the arguments of `umbel cluster restore`.
type restoreOptions struct {
	*client.Factory
	name, from string
	yes        bool
	timeout    time.Duration
}

func newRestoreCmd(f *client.Factory) *cobra.Command {
	o := &restoreOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "restore NAME",
		Short: "Have a cluster hold again what a snapshot holds",
		Long: "Have a cluster hold again what a snapshot of it holds, and return when its API serves that. What was written since is lost.\n\n" +
			"The snapshot is fetched, verified and unpacked while the cluster serves; then its control plane starts anew with it, and a control plane of\n" +
			"three gets its other members again. Machines stay, and end what the snapshot does not know. What the control plane held before is kept on\n" +
			"the hub's machine until the next restore (etcd.before). Into a new cluster: `umbel cluster create NAME --from-backup`.",
		Example:           "  # the newest snapshot\n  umbel cluster restore dev\n\n  # another one\n  umbel cluster restore dev --from dev/20261127-060000",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().StringVar(&o.from, "from", "", "`BACKUP[/SNAPSHOT]` as `umbel cluster backups` lists them (default: the newest of the cluster)")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for the API")
	_ = cmd.RegisterFlagCompletionFunc("from", completeSnapshots(f))
	return cmd
}

// completeSnapshots completes BACKUP/SNAPSHOT.
func completeSnapshots(f *client.Factory) cobra.CompletionFunc {
	return client.CompleteValue(f, func(ctx context.Context, hub *client.Hub) ([]string, error) {
		all, err := backups(ctx, hub, f.Namespace)
		var names []string
		for _, b := range all {
			for _, s := range b.Status.Snapshots {
				names = append(names, b.Name+"/"+s.Name)
			}
		}
		return names, err
	}, func(name string) string { return name })
}

// origin is where a cluster is restored from.
type origin struct {
	backup   string
	snapshot infra.ClusterSnapshot
}

// request is what the control plane is asked for, once.
func (o origin) request(at time.Time) string {
	return fmt.Sprintf("%s/%s@%s", o.backup, o.snapshot.Name, at.UTC().Format("20060102T150405Z"))
}

// originOf returns the snapshot that BACKUP[/SNAPSHOT] means; of a cluster the newest one for nothing.
func originOf(ctx context.Context, hub kube.Reader, namespace, from, cluster string) (o origin, err error) {
	backup, name, _ := strings.Cut(from, "/")
	var b *infra.ClusterBackup
	if from == "" {
		b, err = backupOf(ctx, hub, namespace, cluster)
	} else {
		b, err = backupNamed(ctx, hub, kube.ObjectKey{Namespace: namespace, Name: backup})
	}
	if err != nil {
		return o, err
	}
	for _, s := range b.Status.Snapshots { // the newest first
		if name == "" || s.Name == name {
			return origin{b.Name, s}, nil
		}
	}
	if name == "" {
		return o, fmt.Errorf("ClusterBackup %q has no snapshots: `umbel cluster backups -n %s` lists those that there are", b.Name, namespace)
	}
	return o, fmt.Errorf("ClusterBackup %q has no snapshot %q: `umbel cluster backups -n %s` lists those that there are", b.Name, name, namespace)
}

func (o *restoreOptions) run(ctx context.Context, hub *client.Hub) error {
	key := kube.ObjectKey{Namespace: o.Namespace, Name: o.name}
	cluster, err := find(ctx, hub, key)
	if err != nil {
		return err
	}
	if kindName := text(cluster, "spec", "controlPlaneRef", "kind"); kindName != infra.HostedControlPlaneKind.Kind {
		return fmt.Errorf("cluster %q has a %s: snapshots are restored of clusters on the hub's machine", o.name, kindName)
	}
	if err := atWork(cluster); err != nil {
		return err
	}
	from, err := originOf(ctx, hub, o.Namespace, o.from, o.name)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Err, "Cluster %s/%s is to hold what %s did at %s, with Kubernetes %s: what was written since is lost.\n",
		o.Namespace, o.name, from.snapshot.Cluster, from.snapshot.Time.UTC().Format(time.RFC3339), from.snapshot.Version)
	if !o.yes {
		if err := confirm(o.Factory, "Restore it?", "nothing was changed: --yes answers for you"); err != nil {
			return err
		}
	}
	request := from.request(o.Now())
	patch := fmt.Sprintf(`{"spec":{"topology":{"controlPlane":{"metadata":{"annotations":{%q:%q}}}}}}`, infra.RestoreAnnotation, request)
	if err := whenServed(ctx, func() error { return hub.Patch(ctx, cluster, mergePatch(patch)) }); err != nil {
		return fmt.Errorf("restoring cluster %s: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	if err := restored(ctx, hub, view, key, text(cluster, "spec", "controlPlaneRef", "name"), request); err != nil {
		return fmt.Errorf("cluster %s does not hold what was asked for: %w; it goes on by itself, and `umbel cluster describe %s -n %s` shows how far it is", o.name, err, o.name, o.Namespace)
	}
	return follow(ctx, hub, view, key, membersStage)
}

// restored waits until a control plane says that it holds what was asked for.
func restored(ctx context.Context, hub *client.Hub, view *progress.View, key kube.ObjectKey, plane, request string) error {
	return view.Run(key.Name+": restored", func(step *progress.Step) error {
		return until(ctx, step, func(ctx context.Context) (bool, string, error) {
			o := &unstructured.Unstructured{}
			o.SetGroupVersionKind(infra.HostedControlPlaneKind)
			if err := hub.Get(ctx, kube.ObjectKey{Namespace: key.Namespace, Name: plane}, o); err != nil {
				return false, "", err
			}
			said := conditionOf(o, infra.ConditionRestored).message
			return text(o, "status", "restored") == request, said, nil
		})
	})
}
