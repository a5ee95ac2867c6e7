package deletes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/delivery/decide"
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

// waiting is what a cluster holds back.
type waiting struct {
	cluster v1alpha1.ClusterName
	release string
	held    *v1alpha1.MemberDeletesHeld
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
	if err := o.write(ctx, hub, pkg, o.approval(held, at), removal(placement, leaving, at)); err != nil {
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
func (o *approve) held(key v1alpha1.PackageKey, members []v1alpha1.MemberCluster) ([]waiting, error) {
	var all []waiting
	releases := map[string]bool{}
	for i := range members {
		for _, p := range members[i].Status.Packages {
			if p.Package == key && p.DeletesHeld != nil && o.on(members[i].Name) && (o.release == "" || o.release == p.Release) {
				all = append(all, waiting{v1alpha1.ClusterName(members[i].Name), p.Release, p.DeletesHeld})
				releases[p.Release] = true
			}
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
	if placement == nil {
		return nil
	}
	seen := decide.Seen{Deleting: !pkg.DeletionTimestamp.IsZero(), Placement: placement}
	withheld := decide.Withhold(seen, decide.MembersOf(members, v1alpha1.KeyOf(pkg.Namespace, pkg.Name)), pkg.Spec.Deletes)
	return slices.DeleteFunc(withheld.Clusters(), func(name v1alpha1.ClusterName) bool { return !o.on(string(name)) })
}

// showAll shows what would go.
func (o *approve) showAll(pkg *v1alpha1.Package, held []waiting, leaving []v1alpha1.ClusterName) error {
	if len(held) > 0 {
		o.Note("Release %s of package %s would delete:", held[0].release, pkg.Name)
		var rows [][]output.Cell
		for _, w := range held {
			of := fmt.Sprintf("%d of %d", w.held.Objects, w.held.Holds)
			protected := output.Text("")
			if w.held.Protected > 0 {
				protected = output.Cell{Text: fmt.Sprint(w.held.Protected), Tone: output.Bad}
			}
			rows = append(rows, append(output.Cells(string(w.cluster), of), protected, output.Text(names(w.held.Names, int(w.held.Objects)))))
		}
		if err := o.show([]string{"CLUSTER", "OBJECTS", "PROTECTED", "NAMES"}, rows); err != nil {
			return err
		}
		if slices.ContainsFunc(held, func(w waiting) bool { return w.held.Protected > 0 }) {
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

// approval is for what was shown: for no more on any cluster.
func (o *approve) approval(held []waiting, at metav1.MicroTime) *v1alpha1.DeleteApproval {
	if len(held) == 0 {
		return nil
	}
	a := &v1alpha1.DeleteApproval{Release: held[0].release, At: at}
	for _, w := range held {
		a.Objects, a.Protected = max(a.Objects, w.held.Objects), max(a.Protected, w.held.Protected)
		if len(o.clusters) > 0 {
			a.Clusters = append(a.Clusters, w.cluster)
		}
	}
	return a
}

func removal(placement *v1alpha1.Placement, leaving []v1alpha1.ClusterName, at metav1.MicroTime) *v1alpha1.RemovalApproval {
	if len(leaving) == 0 {
		return nil
	}
	return &v1alpha1.RemovalApproval{Placement: placement.Name, Generation: placement.Generation, Clusters: leaving, At: at}
}

// write puts the approvals into the package's spec, in the place of those that they replace.
func (o *approve) write(ctx context.Context, hub *client.Hub, pkg *v1alpha1.Package, a *v1alpha1.DeleteApproval, r *v1alpha1.RemovalApproval) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := hub.Get(ctx, kube.ObjectKeyFromObject(pkg), pkg); err != nil {
			return err
		}
		before := pkg.DeepCopy()
		if pkg.Spec.Deletes == nil {
			pkg.Spec.Deletes = &v1alpha1.PackageDeletes{}
		}
		deletes := pkg.Spec.Deletes
		if a != nil {
			kept := slices.DeleteFunc(deletes.Approved, func(b v1alpha1.DeleteApproval) bool {
				return b.Release == a.Release && equality.Semantic.DeepEqual(b.Clusters, a.Clusters)
			})
			kept = append(kept, *a)
			deletes.Approved = kept[max(0, len(kept)-v1alpha1.MaxDeleteApprovals):]
		}
		if r != nil {
			if was := deletes.ApprovedRemoval; was != nil && was.Placement == r.Placement && was.Generation == r.Generation {
				r.Clusters = slices.Compact(slices.Sorted(slices.Values(append(r.Clusters, was.Clusters...))))
			}
			deletes.ApprovedRemoval = r
		}
		return hub.Patch(ctx, pkg, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
}

func (o *approve) say(pkg *v1alpha1.Package, held []waiting, leaving []v1alpha1.ClusterName) error {
	if len(held) > 0 {
		if _, err := fmt.Fprintf(o.Out, "package/%s: deletes of release %s approved on %s\n", pkg.Name, held[0].release, v1alpha1.Counted(len(held), "cluster")); err != nil {
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
