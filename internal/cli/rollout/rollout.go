// Package rollout answers: how far is a new release of a package, and does it go on? It is the noun `umbel rollout`.
//
// It shows the Rollouts of a Package, and writes in the spec of the newest what people want of it. What becomes of that
// decides the hub.
package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/view"
	"umbel.dev/umbel/internal/cli/word"
)

// NewCmd returns the command `umbel rollout`.
func NewCmd(f *client.Factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "See how far a release is, and decide whether it goes on",
		Long: "See how far a new release of a package is on its clusters, and decide whether it goes on.\n\n" +
			"A package whose spec.rollout has a strategy gets its releases to the clusters stage by stage. A rollout of Kubernetes\n" +
			"(`umbel cluster upgrade --clusters`) is named as rollout/NAME.",
		Example: "  # how far it is, until it is done\n  umbel rollout status shop -w\n\n  # let the next stage begin\n  umbel rollout approve shop\n\n" +
			"  # bring all clusters back to the last good release\n  umbel rollout back shop",
		Args: exit.Takes(),
	}
	cmd.AddCommand(newStatusCmd(f), newHistoryCmd(f), newBackCmd(f), newApproveCmd(f), newPromoteCmd(f), newResumeCmd(f),
		pause.command(f), abort.command(f))
	return cmd
}

// rollouts returns those of a package, the newest last.
func rollouts(ctx context.Context, hub kube.Reader, namespace, name string) ([]v1alpha1.Rollout, *v1alpha1.Package, error) {
	var pkg v1alpha1.Package
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: name}, &pkg); err != nil {
		return nil, nil, err
	}
	var list v1alpha1.RolloutList
	if err := hub.List(ctx, &list, kube.InNamespace(namespace)); err != nil {
		return nil, nil, err
	}
	own := slices.DeleteFunc(list.Items, func(r v1alpha1.Rollout) bool {
		return r.Spec.PackageRef.Name != name || !metav1.IsControlledBy(&r, &pkg)
	})
	slices.SortFunc(own, func(a, b v1alpha1.Rollout) int { return cmp.Compare(a.Spec.Number, b.Spec.Number) })
	return own, &pkg, nil
}

// find returns the rollout that an argument means: the newest of a package or, as rollout/NAME, one of Kubernetes. The name alone
// will do where there is no package of that name.
func find(ctx context.Context, hub kube.Reader, namespace, arg string) (*v1alpha1.Rollout, error) {
	if word, name, slashed := strings.Cut(arg, "/"); slashed {
		kind, err := kinds.Lookup(word)
		if err != nil {
			return nil, err
		}
		if kind == kinds.Rollouts {
			return named(ctx, hub, namespace, name)
		}
	}
	name, err := kinds.Packages.NameOf(arg)
	if err != nil {
		return nil, err
	}
	r, err := newest(ctx, hub, namespace, name)
	if apierrors.IsNotFound(err) {
		if other, errOther := named(ctx, hub, namespace, name); errOther == nil {
			return other, nil
		}
	}
	return r, err
}

// named returns a rollout of Kubernetes by its name.
func named(ctx context.Context, hub kube.Reader, namespace, name string) (*v1alpha1.Rollout, error) {
	var r v1alpha1.Rollout
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: namespace, Name: name}, &r); err != nil {
		return nil, err
	}
	if r.Spec.Kubernetes == nil {
		return nil, exit.Usagef("rollout %s is one of package %s: name that, of which the newest counts", name, r.Spec.PackageRef.Name)
	}
	return &r, nil
}

// complete completes what a rollout can be named by.
func complete(f *client.Factory) cobra.CompletionFunc {
	return client.CompleteListed(f, func(ctx context.Context, hub *client.Hub) ([]string, error) {
		var packages v1alpha1.PackageList
		var list v1alpha1.RolloutList
		if err := hub.List(ctx, &packages, kube.InNamespace(f.Namespace)); err != nil {
			return nil, err
		}
		if err := hub.List(ctx, &list, kube.InNamespace(f.Namespace)); err != nil {
			return nil, err
		}
		var names []string
		for i := range packages.Items {
			names = append(names, packages.Items[i].Name)
		}
		for i := range list.Items {
			if list.Items[i].Spec.Kubernetes != nil {
				names = append(names, view.RolloutHandle(&list.Items[i]))
			}
		}
		return names, nil
	}, func(name string) string { return name })
}

// newest returns the rollout of a package that counts.
func newest(ctx context.Context, hub kube.Reader, namespace, name string) (*v1alpha1.Rollout, error) {
	all, pkg, err := rollouts(ctx, hub, namespace, name)
	switch {
	case err != nil:
		return nil, err
	case len(all) > 0:
		return &all[len(all)-1], nil
	case pkg.Spec.Rollout == nil:
		return nil, fmt.Errorf("package %s has no rollout: its clusters get a release all at once, for spec.rollout has no strategy", name)
	}
	return nil, fmt.Errorf("package %s has had no rollout yet: its first release begins one", name)
}

// errTakingOver says that the rollout is over, and the next one is not there yet.
var errTakingOver = errors.New("try again in a moment")

// decision is a change of what people want of a rollout. It returns what is then so, in a word or two.
type decision func(*v1alpha1.Rollout) (done string, err error)

// decide makes the change in the newest rollout of a package.
func (d decision) decide(ctx context.Context, f *client.Factory, hub kube.Client, arg string) error {
	var at, done string
	again := func(err error) bool { return apierrors.IsConflict(err) || errors.Is(err, errTakingOver) }
	err := retry.OnError(wait.Backoff{Steps: 30, Duration: 100 * time.Millisecond}, again, func() error {
		r, err := find(ctx, hub, f.Namespace, arg)
		if err != nil {
			return err
		}
		at = r.Name
		if r.Status.Successor != "" {
			return fmt.Errorf("%s takes over from %s: %w", r.Status.Successor, r.Name, errTakingOver)
		}
		before := r.DeepCopy()
		done, err = d(r)
		if wrong, ok := errors.AsType[*word.Misuse](err); ok {
			return exit.Usage(wrong)
		}
		if err != nil {
			return err
		}
		return hub.Patch(ctx, r, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
	if errors.Is(err, word.ErrAlreadySo) {
		fmt.Fprintf(f.Out, "rollout/%s: nothing to change\n", at)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(f.Out, "rollout/%s %s\n", at, done)
	return nil
}

// deciding makes a command of a decision about a package.
func deciding(f *client.Factory, cmd *cobra.Command, decide func() decision) *cobra.Command {
	cmd.Args, cmd.ValidArgsFunction = exit.Takes("PACKAGE"), complete(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error {
			return decide().decide(ctx, f, hub, args[0])
		})
	}
	f.AddNamespaceFlag(cmd)
	return cmd
}
