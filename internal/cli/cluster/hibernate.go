package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/cli/span"
)

// sleepOptions are the arguments of `umbel cluster hibernate` and `umbel cluster wake`.
type sleepOptions struct {
	*client.Factory
	name    string
	timeout time.Duration
}

func newHibernateCmd(f *client.Factory) *cobra.Command {
	o := &sleepOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "hibernate NAME",
		Short: "End the processes and machines of a cluster, and keep its data and addresses",
		Long: "End the processes and machines of a cluster on the hub's machine, in order, and return when none runs. Its data and addresses stay, and so\n" +
			"does its place in the fleet: rollouts go on without it, and it gets what it has missed when it wakes. Cluster API is paused for it\n" +
			"meanwhile (spec.paused). `umbel cluster wake` starts it.",
		Example:           "  umbel cluster hibernate dev",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return f.OnHub(cmd.Context(), o.hibernate)
		},
	}
	return o.flags(cmd, "`DURATION` to wait until nothing of it runs")
}

func newWakeCmd(f *client.Factory) *cobra.Command {
	o := &sleepOptions{Factory: f}
	cmd := &cobra.Command{
		Use:               "wake NAME",
		Short:             "Start a cluster that hibernates",
		Long:              "Start a cluster that hibernates, and return when its API serves, its machines are there and it is connected.",
		Example:           "  umbel cluster wake dev",
		Args:              exit.Takes("NAME"),
		ValidArgsFunction: complete(f),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return f.OnHub(cmd.Context(), o.wake)
		},
	}
	return o.flags(cmd, "`DURATION` to wait for the cluster")
}

func (o *sleepOptions) flags(cmd *cobra.Command, timeout string) *cobra.Command {
	o.AddNamespaceFlag(cmd)
	o.timeout = 5 * time.Minute
	span.Var(cmd.Flags(), &o.timeout, "timeout", timeout)
	return cmd
}

func (o *sleepOptions) hibernate(ctx context.Context, hub *client.Hub) error {
	cluster, err := o.hosted(ctx, hub)
	if err != nil {
		return err
	}
	if !v1alpha1.Hibernated(cluster.GetAnnotations()) || cluster.GetDeletionTimestamp() != nil {
		if err := atWork(cluster); err != nil {
			return err
		}
	}
	if err := o.patch(ctx, hub, cluster, `{"metadata":{"annotations":{%q:"true"}},"spec":{"paused":true}}`); err != nil {
		return fmt.Errorf("hibernating cluster %s: %w", o.name, err)
	}
	return o.await(ctx, hub, cluster, "hibernates", func(parts []unstructured.Unstructured) (bool, string) {
		for _, p := range parts {
			if c := saysOf(&p); c.reason != infra.ReasonHibernated {
				return false, p.GetKind() + " " + p.GetName() + " runs still: " + c.message
			}
		}
		return true, ""
	})
}

func (o *sleepOptions) wake(ctx context.Context, hub *client.Hub) error {
	cluster, err := o.hosted(ctx, hub)
	if err != nil {
		return err
	}
	if !v1alpha1.Hibernated(cluster.GetAnnotations()) {
		if err := atWork(cluster); err != nil {
			return err
		}
		o.Note("cluster %s does not hibernate: nothing is changed", o.name)
	} else if err := o.patch(ctx, hub, cluster, `{"metadata":{"annotations":{%q:null}},"spec":{"paused":false}}`); err != nil {
		return fmt.Errorf("waking cluster %s: %w", o.name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err = o.await(ctx, hub, cluster, "runs", func(parts []unstructured.Unstructured) (bool, string) {
		for _, p := range parts {
			if c := saysOf(&p); c.status != "True" {
				return false, p.GetKind() + " " + p.GetName() + ": " + c.message
			}
		}
		return true, ""
	})
	if err != nil {
		return err
	}
	member := &v1alpha1.MemberCluster{}
	if hub.Get(ctx, kube.ObjectKey{Name: o.name}, member) != nil || member.Status.Identity == nil {
		return nil // it is none, or never was there
	}
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	return joined(ctx, hub, view, o.name)
}

// asleep is what is said of a cluster that hibernates.
func asleep(cluster *unstructured.Unstructured) string {
	return fmt.Sprintf("it hibernates: `umbel cluster wake %s -n %s` starts it", cluster.GetName(), cluster.GetNamespace())
}

// atWork refuses a cluster with which nothing comes about that is asked of it now: whoever asked would wait in vain.
func atWork(cluster *unstructured.Unstructured) error {
	paused, _, _ := unstructured.NestedBool(cluster.Object, "spec", "paused")
	switch {
	case cluster.GetDeletionTimestamp() != nil:
		return fmt.Errorf("cluster %s is being deleted", cluster.GetName())
	case v1alpha1.Hibernated(cluster.GetAnnotations()):
		return fmt.Errorf("cluster %s: %s", cluster.GetName(), asleep(cluster))
	case paused:
		return fmt.Errorf("cluster %s is paused (spec.paused), so that nobody changes it: have it go on first", cluster.GetName())
	}
	return nil
}

// hosted returns a cluster that can hibernate.
func (o *sleepOptions) hosted(ctx context.Context, hub *client.Hub) (*unstructured.Unstructured, error) {
	cluster, err := find(ctx, hub, kube.ObjectKey{Namespace: o.Namespace, Name: o.name})
	if err != nil {
		return nil, err
	}
	if kindName := text(cluster, "spec", "controlPlaneRef", "kind"); kindName != infra.HostedControlPlaneKind.Kind {
		return nil, fmt.Errorf("cluster %q has a control plane of kind %q: clusters on the hub's machine hibernate", o.name, kindName)
	}
	return cluster, nil
}

func (o *sleepOptions) patch(ctx context.Context, hub *client.Hub, cluster *unstructured.Unstructured, patch string) error {
	return whenServed(ctx, func() error {
		return hub.Patch(ctx, cluster, mergePatch(fmt.Sprintf(patch, v1alpha1.HibernatedAnnotation)))
	})
}

// await returns when the control plane and all machines of a cluster are as is says.
func (o *sleepOptions) await(ctx context.Context, hub *client.Hub, cluster *unstructured.Unstructured, what string, is func([]unstructured.Unstructured) (bool, string)) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	view := progress.On(o.Streams, o.Now)
	defer view.Close()
	err := view.Run(o.name+": "+what, func(step *progress.Step) error {
		return until(ctx, step, func(ctx context.Context) (bool, string, error) {
			parts, err := o.parts(ctx, hub)
			if err != nil {
				return false, "", err
			}
			done, said := is(parts)
			return done, said, nil
		})
	})
	if err != nil {
		return fmt.Errorf("cluster %s: %w; it goes on by itself, and `umbel cluster describe %s -n %s` shows how far it is", o.name, err, o.name, cluster.GetNamespace())
	}
	return nil
}

// parts are the control plane of a cluster and its machines.
func (o *sleepOptions) parts(ctx context.Context, hub kube.Reader) ([]unstructured.Unstructured, error) {
	of := []kube.ListOption{kube.InNamespace(o.Namespace), kube.MatchingLabels{"cluster.x-k8s.io/cluster-name": o.name}}
	planes, err := list(ctx, hub, infra.HostedControlPlaneKind, of...)
	if err != nil {
		return nil, err
	}
	machines, err := list(ctx, hub, infra.GroupVersion.WithKind("LocalMachine"), of...)
	return append(planes, machines...), err
}

// saysOf is what a part says of itself.
func saysOf(o *unstructured.Unstructured) condition {
	if c := conditionOf(o, infra.ConditionAvailable); c.status != "Unknown" {
		return c
	}
	return conditionOf(o, infra.ConditionReady)
}
