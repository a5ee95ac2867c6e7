package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/lifecycle/ending"
)

const deleteExamples = `  # see what dies with it, and be asked
  umbel cluster delete dev

  # its provider is gone for good: forget what is left of it, and write down what that is
  umbel cluster delete dev --force-detach --orphan-report dev-orphans.yaml`

const (
	// slow is how long a part may take to go before a line says so.
	slow = 5 * time.Second
	// lookEvery is between two looks at all parts of a cluster.
	lookEvery = time.Second
)

// deleteOptions are the arguments of `umbel cluster delete`.
type deleteOptions struct {
	*client.Factory
	name    string
	yes     bool
	detach  bool
	report  string
	timeout time.Duration
}

func newDeleteCmd(f *client.Factory) *cobra.Command {
	o := &deleteOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "End a cluster that the hub made, and all that is in it",
		Long: "End a cluster that the hub made: its machines, its control plane, all data in it, and its place in the fleet. It shows what that is, and\n" +
			"asks. It returns when nothing is left, and says meanwhile what blocks: which finalizer of which object, since when. A cluster that is\n" +
			"attached only is not touched: `umbel leave` takes it out of the fleet.\n\n" +
			"With --force-detach a deletion ends that nobody can end, because a provider is gone for good: what blocks is let go. What may be left of it\n" +
			"in a cloud is written down before, in a file and in the ConfigMap NAME-orphans beside the cluster. When that is interrupted, the same\n" +
			"command goes on.",
		Example:           deleteExamples,
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			if o.report == "" {
				o.report = o.name + ending.ReportSuffix + ".yaml"
			}
			return f.OnHub(cmd.Context(), o.run)
		},
	}
	f.AddNamespaceFlag(cmd)
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&o.detach, "force-detach", false, "end a deletion that is under way and cannot end, whatever that leaves")
	cmd.Flags().StringVar(&o.report, "orphan-report", "", "`FILE` for what --force-detach may leave (default: NAME-orphans.yaml here)")
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", "`DURATION` to wait for its end")
	return cmd
}

func (o *deleteOptions) run(ctx context.Context, hub *client.Hub) error {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if o.detach && (err != nil || cluster.GetDeletionTimestamp() == nil) { // another one may have its name by now
		if begun, other := o.resume(ctx, hub); begun || other != nil {
			return other
		}
	}
	if err != nil {
		return err
	}
	if o.detach {
		return o.force(ctx, hub, cluster)
	}
	made, err := ending.Of(ctx, hub, kube.ObjectKeyFromObject(cluster))
	if err != nil {
		return err
	}
	if err := o.consent(ctx, hub, cluster); err != nil {
		return err
	}
	if v1alpha1.Hibernated(cluster.GetAnnotations()) { // Cluster API ends nothing that is paused
		if err := whenServed(ctx, func() error { return hub.Patch(ctx, cluster, mergePatch(`{"spec":{"paused":false}}`)) }); err != nil {
			return fmt.Errorf("deleting cluster %s: %w", o.name, err)
		}
	}
	err = whenServed(ctx, func() error { return hub.Delete(ctx, cluster, kube.Preconditions{UID: new(cluster.GetUID())}) })
	if kube.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting cluster %s: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	err = view.Run(o.name+": ended", func(step *progress.Step) error {
		watching := &watcher{hub: hub, made: made, view: view, now: o.Now, told: map[types.UID]bool{}}
		return until(ctx, step, func(ctx context.Context) (bool, string, error) { return watching.look(ctx, cluster) })
	})
	if err != nil {
		return fmt.Errorf("cluster %s has not ended: %w; it goes on ending, and `umbel cluster describe %s -n %s` shows what is left; when whoever is to end that is gone for good, "+
			"`umbel cluster delete %s -n %s --force-detach` forgets it", o.name, err, o.name, o.Namespace, o.name, o.Namespace)
	}
	return nil
}

// watcher tells how a deletion goes.
type watcher struct {
	hub  *client.Hub
	made ending.Cluster
	view *progress.View
	now  func() time.Time
	told map[types.UID]bool
	next time.Time
	said string
}

// look says whether a cluster is gone, and otherwise what blocks. What does so for long has a line, once.
func (w *watcher) look(ctx context.Context, cluster *unstructured.Unstructured) (bool, string, error) {
	now := &unstructured.Unstructured{}
	now.SetGroupVersionKind(kind("Cluster"))
	err := w.hub.Get(ctx, kube.ObjectKeyFromObject(cluster), now)
	if apierrors.IsNotFound(err) || err == nil && now.GetUID() != cluster.GetUID() {
		return true, "", nil
	}
	if err != nil {
		return false, "", err
	}
	if w.now().Before(w.next) {
		return false, w.said, nil
	}
	w.next = w.now().Add(lookEvery)
	parts, err := w.made.Gather(ctx, w.hub)
	if err != nil {
		return false, "", err
	}
	var lines []string
	for _, b := range ending.Blockers(parts.All) {
		lines = append(lines, b.String())
		if w.now().Sub(b.Since) >= slow && !w.told[b.Part.GetUID()] {
			w.told[b.Part.GetUID()] = true
			w.view.Say("  " + b.String())
		}
	}
	for _, unread := range parts.Unread {
		lines = append(lines, "cannot be read: "+unread)
	}
	w.said = strings.Join(lines, "; ")
	return false, w.said, nil
}

// blocked says what the end of a cluster waits for.
func blocked(cluster *unstructured.Unstructured) string {
	if c := conditionOf(cluster, "Deleting"); c.status == "True" && c.message != "" {
		return c.message
	}
	return "it waits for " + strings.Join(cluster.GetFinalizers(), ", ")
}
