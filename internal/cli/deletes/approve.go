package deletes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/cli/word"
)

// approve are the arguments of `umbel approve deletes`.
type approve struct {
	asking
	release string
}

// NewApproveCmd returns the command `umbel approve deletes`, which belongs below `umbel approve`.
func NewApproveCmd(f *client.Factory) *cobra.Command {
	o := &approve{asking: asking{Factory: f}}
	cmd := &cobra.Command{
		Use:   "deletes PACKAGE",
		Short: "Let a release delete what its budget does not allow",
		Long: "Let a release delete what the budget of its package does not allow, or let clusters lose a package that its placement\n" +
			"does not select any more. It shows what would go, and asks.\n\n" +
			"The approval is for that release and no other, and for no more objects on a cluster than were shown. Of clusters that\n" +
			"lose the package it names those that were shown, for the placement as it is. Who approved, and when, is in the audit\n" +
			"log: `umbel audit`. What was deleted can come back: `umbel undo`.",
		Example: `  # what waits, and why
  umbel describe package shop

  # let it go, on every cluster
  umbel approve deletes shop

  # on one cluster first
  umbel approve deletes shop --cluster prod-eu

  # in a script, for the release that was looked at
  umbel approve deletes shop --release shop-1a2b3c4d --yes`,
		Args:              exit.Takes("PACKAGE"),
		ValidArgsFunction: f.CompleteName(kinds.Packages),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := packageOf(args[0])
			if err != nil {
				return err
			}
			return f.OnHub(cmd.Context(), func(ctx context.Context, hub *client.Hub) error { return o.run(ctx, hub, name) })
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&o.release, "release", "", "`NAME` of the release (default: the one whose deletes wait)")
	_ = cmd.RegisterFlagCompletionFunc("release", f.CompleteName(kinds.Releases)) // it fails for a flag that does not exist only
	return cmd
}

func (o *approve) run(ctx context.Context, hub *client.Hub, name string) error {
	pkg := &v1alpha1.Package{}
	if err := hub.Get(ctx, kube.ObjectKey{Namespace: o.Namespace, Name: name}, pkg); err != nil {
		return err
	}
	var members v1alpha1.MemberClusterList
	if err := hub.List(ctx, &members); err != nil {
		return err
	}
	if err := o.known(members.Items); err != nil {
		return err
	}
	placement, err := placementOf(ctx, hub, pkg)
	if err != nil {
		return err
	}
	held, err := o.held(v1alpha1.KeyOf(pkg.Namespace, pkg.Name), members.Items)
	if err != nil {
		return err
	}
	var leaving []v1alpha1.ClusterName
	if o.release == "" {
		leaving = o.leaving(pkg, placement, members.Items)
	}
	if len(held)+len(leaving) == 0 {
		o.Note("package/%s has no deletes that wait for a word", name)
		return nil
	}
	if err := o.showAll(pkg, held, leaving); err != nil {
		return err
	}
	if err := o.confirm("Is all of that to go?"); err != nil {
		return err
	}
	at := metav1.NewMicroTime(o.Now())
	if err := o.write(ctx, hub, pkg, placement, held, leaving, at); err != nil {
		return err
	}
	return o.say(pkg, held, leaving)
}

// placementOf returns the placement of a package, or nil when there is none.
func placementOf(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package) (*v1alpha1.Placement, error) {
	placement := &v1alpha1.Placement{}
	err := hub.Get(ctx, kube.ObjectKey{Namespace: pkg.Namespace, Name: pkg.Spec.PlacementRef.Name}, placement)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return placement, err
}

// held returns what clusters hold back of one release.
func (o *approve) held(key v1alpha1.PackageKey, members []v1alpha1.MemberCluster) ([]word.Waiting, error) {
	var all []word.Waiting
	releases := map[string]bool{}
	for _, w := range word.Held(key, members) {
		if o.on(string(w.Cluster)) && (o.release == "" || o.release == w.Release) {
			all = append(all, w)
			releases[w.Release] = true
		}
	}
	if len(releases) > 1 {
		var found []string
		for release := range releases {
			found = append(found, release)
		}
		slices.Sort(found)
		return nil, exit.Usagef("clusters hold back deletes of several releases: say with --release which of %s", strings.Join(found, ", "))
	}
	if o.release != "" && len(all) == 0 {
		return nil, fmt.Errorf("no cluster holds back deletes of release %q: `umbel describe package` shows what waits", o.release)
	}
	return all, nil
}

// leaving returns the clusters that keep the package because too many would lose it at once.
func (o *approve) leaving(pkg *v1alpha1.Package, placement *v1alpha1.Placement, members []v1alpha1.MemberCluster) []v1alpha1.ClusterName {
	return slices.DeleteFunc(word.Leaving(pkg, placement, members), func(name v1alpha1.ClusterName) bool { return !o.on(string(name)) })
}

// showAll shows what would go.
func (o *approve) showAll(pkg *v1alpha1.Package, held []word.Waiting, leaving []v1alpha1.ClusterName) error {
	if len(held) > 0 {
		o.Note("Release %s of package %s would delete:", held[0].Release, pkg.Name)
		var rows [][]output.Cell
		for _, w := range held {
			of := fmt.Sprintf("%d of %d", w.Held.Objects, w.Held.Holds)
			protected := output.Text("")
			if w.Held.Protected > 0 {
				protected = output.Cell{Text: fmt.Sprint(w.Held.Protected), Tone: output.Bad}
			}
			rows = append(rows, append(output.Cells(string(w.Cluster), of), protected, output.Text(names(w.Held.Names, int(w.Held.Objects)))))
		}
		if err := o.show([]string{"CLUSTER", "OBJECTS", "PROTECTED", "NAMES"}, rows); err != nil {
			return err
		}
		if slices.ContainsFunc(held, func(w word.Waiting) bool { return w.Held.Protected > 0 }) {
			o.Note("Protected are Namespaces, CustomResourceDefinitions and PersistentVolumeClaims: they take along what is in them,\nalso what others put there, and `umbel undo` does not bring that back.")
		}
	}
	if len(leaving) > 0 {
		o.Note("Placement %s does not select %s any more, which would lose all of package %s:",
			pkg.Spec.PlacementRef.Name, v1alpha1.Counted(len(leaving), "cluster"), pkg.Name)
		var rows [][]output.Cell
		for _, name := range leaving {
			rows = append(rows, output.Cells(string(name)))
		}
		return o.show([]string{"CLUSTER"}, rows)
	}
	return nil
}

// write puts the approvals into the package's spec, in the place of those that they replace.
func (o *approve) write(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package, placement *v1alpha1.Placement, held []word.Waiting, leaving []v1alpha1.ClusterName, at metav1.MicroTime) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := hub.Get(ctx, kube.ObjectKeyFromObject(pkg), pkg); err != nil {
			return err
		}
		before := pkg.DeepCopy()
		if len(held) > 0 {
			if _, err := word.ApproveDeletes(pkg, held, len(o.clusters) > 0, at); err != nil {
				return err
			}
		}
		if len(leaving) > 0 {
			if _, err := word.ApproveRemoval(pkg, placement, leaving, at); err != nil {
				return err
			}
		}
		return hub.Patch(ctx, pkg, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
}

func (o *approve) say(pkg *v1alpha1.Package, held []word.Waiting, leaving []v1alpha1.ClusterName) error {
	if len(held) > 0 {
		if _, err := fmt.Fprintf(o.Out, "package/%s: deletes of release %s approved on %s\n", pkg.Name, held[0].Release, v1alpha1.Counted(len(held), "cluster")); err != nil {
			return err
		}
	}
	if len(leaving) > 0 {
		if _, err := fmt.Fprintf(o.Out, "package/%s: %s may lose it\n", pkg.Name, v1alpha1.Counted(len(leaving), "cluster")); err != nil {
			return err
		}
	}
	return nil
}
