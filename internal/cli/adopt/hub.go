package adopt

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/delivery"
)

// nowhere is the expression of a Placement that selects no cluster.
const nowhere = "false"

// book is what the hub knows of a Package that takes over: it and its Placement, which has the same name.
type book struct {
	hub kube.Client
	key kube.ObjectKey
}

// find returns the Package; nil when there is none.
func (b book) find(ctx context.Context) (*v1alpha1.Package, error) {
	pkg := &v1alpha1.Package{}
	err := b.hub.Get(ctx, b.key, pkg)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return pkg, err
}

// open makes the Package and a Placement that selects no cluster, unless they are there, and notes that the cluster was begun with.
// A Package that others take over with as well has to be the same. It returns the Package's uid.
func (b book) open(ctx context.Context, want *v1alpha1.Package, cluster v1alpha1.ClusterName) (types.UID, error) {
	placement := &v1alpha1.Placement{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name},
		Spec:       v1alpha1.PlacementSpec{Expressions: []string{nowhere}},
	}
	if err := b.hub.Create(ctx, placement); err != nil && !apierrors.IsAlreadyExists(err) {
		return "", err
	}
	first := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name}, Spec: *want.Spec.DeepCopy()}
	begin(first, cluster)
	err := b.hub.Create(ctx, first)
	if !apierrors.IsAlreadyExists(err) {
		return first.UID, err
	}
	var uid types.UID
	err = b.change(ctx, func(pkg *v1alpha1.Package) error {
		if uid = pkg.UID; !pkg.DeletionTimestamp.IsZero() {
			return fmt.Errorf("package %s is being deleted: run this again when it is gone", b.key)
		}
		begin(pkg, cluster)
		return nil
	})
	return uid, err
}

// fits says whether a Package that is there is the one that is wanted.
func fits(there, want *v1alpha1.Package) error {
	if !adopts(there) {
		return fmt.Errorf("there is a package %s/%s already, which took nothing over: --to gives this one another name", there.Namespace, there.Name)
	}
	a, b := there.Spec.DeepCopy(), want.Spec.DeepCopy()
	for _, spec := range []*v1alpha1.PackageSpec{a, b} { // the API writes out defaults
		if spec.Source.Git != nil {
			spec.Source.Git.PollInterval = nil
		}
		if spec.Source.OCI != nil {
			spec.Source.OCI.PollInterval = nil
		}
		if spec.Source.Helm != nil {
			spec.Source.Helm.PollInterval = nil
		}
	}
	if !equality.Semantic.DeepEqual(a.Source, b.Source) || !equality.Semantic.DeepEqual(a.Helm, b.Helm) {
		return fmt.Errorf("package %s/%s is there, and has another source: --to gives this one another name", there.Namespace, there.Name)
	}
	return nil
}

func (b book) change(ctx context.Context, change func(*v1alpha1.Package) error) error {
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pkg := &v1alpha1.Package{}
		if err := b.hub.Get(ctx, b.key, pkg); err != nil {
			return err
		}
		before := pkg.DeepCopy()
		if err := change(pkg); err != nil || equality.Semantic.DeepEqual(before, pkg) {
			return err
		}
		return b.hub.Patch(ctx, pkg, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
}

// place has the Placement select one cluster more.
func (b book) place(ctx context.Context, cluster v1alpha1.ClusterName) error {
	if _, err := b.choose(ctx, func(names []string) []string { return append(names, string(cluster)) }); err != nil {
		return err
	}
	return b.change(ctx, func(pkg *v1alpha1.Package) error {
		ended(pkg, cluster)
		return nil
	})
}

// displace has the Placement select one cluster less, and approves that the cluster loses the Package.
func (b book) displace(ctx context.Context, cluster v1alpha1.ClusterName, now time.Time) error {
	generation, err := b.choose(ctx, func(names []string) []string {
		return slices.DeleteFunc(names, func(name string) bool { return name == string(cluster) })
	})
	if err != nil {
		return err
	}
	return b.change(ctx, func(pkg *v1alpha1.Package) error {
		if pkg.Spec.Deletes == nil {
			pkg.Spec.Deletes = &v1alpha1.PackageDeletes{}
		}
		pkg.Spec.Deletes.ApprovedRemoval = &v1alpha1.RemovalApproval{
			Placement: b.key.Name, Generation: generation, Clusters: []v1alpha1.ClusterName{cluster}, At: metav1.NewMicroTime(now),
		}
		return nil
	})
}

// choose changes which clusters the Placement names, and returns its generation.
func (b book) choose(ctx context.Context, change func([]string) []string) (generation int64, err error) {
	placement := &v1alpha1.Placement{}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if err := b.hub.Get(ctx, b.key, placement); err != nil {
			return err
		}
		before := placement.DeepCopy()
		var names []string
		for _, field := range placement.Spec.Fields {
			names = append(names, field.Values...)
		}
		names = change(names)
		slices.Sort(names)
		names = slices.Compact(names)
		placement.Spec.Fields, placement.Spec.Expressions = nil, []string{nowhere}
		if len(names) > 0 {
			placement.Spec.Fields = []v1alpha1.FieldRequirement{{Field: "name", Operator: v1alpha1.FieldIn, Values: names}}
			placement.Spec.Expressions = nil
		}
		if equality.Semantic.DeepEqual(before, placement) {
			return nil
		}
		return b.hub.Patch(ctx, placement, kube.MergeFromWithOptions(before, kube.MergeFromWithOptimisticLock{}))
	})
	return placement.Generation, err
}

// forget ends it for the cluster; with the last one the Package and the Placement go.
func (b book) forget(ctx context.Context, cluster v1alpha1.ClusterName) (last bool, err error) {
	err = b.change(ctx, func(pkg *v1alpha1.Package) error {
		ended(pkg, cluster)
		return nil
	})
	if err != nil {
		return false, err
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pkg, err := b.find(ctx)
		if last = pkg != nil && len(begun(pkg)) == 0; err != nil || !last {
			return err
		}
		if selects, err := b.selects(ctx); err != nil || selects {
			last = false
			return err
		}
		// Whoever begins with a cluster from here on has changed the Package, so that it is not deleted.
		return kube.IgnoreNotFound(b.hub.Delete(ctx, pkg, kube.Preconditions{UID: &pkg.UID, ResourceVersion: &pkg.ResourceVersion}))
	})
	if err != nil || !last {
		return false, err
	}
	at := metav1.ObjectMeta{Namespace: b.key.Namespace, Name: b.key.Name}
	return true, kube.IgnoreNotFound(b.hub.Delete(ctx, &v1alpha1.Placement{ObjectMeta: at}))
}

// selects says whether the Placement may select a cluster.
func (b book) selects(ctx context.Context) (bool, error) {
	placement := &v1alpha1.Placement{}
	err := b.hub.Get(ctx, b.key, placement)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err != nil || !slices.Equal(placement.Spec.Expressions, []string{nowhere}), err
}

// look is how far something is: done, or what is waited for.
type look func(ctx context.Context) (done bool, waits string, err error)

// await looks until it is done, or the time is over.
func await(ctx context.Context, step *progress.Step, atMost time.Duration, look look) error {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		done, waits, err := look(ctx)
		if err != nil || done {
			return err
		}
		step.Note("%s", waits)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return fmt.Errorf("not within %s: %s; run this again to wait on, and --timeout waits longer", atMost, waits)
		case <-tick.C:
		}
	}
}

// applied says whether the cluster holds the current release of the Package, made from the source that it names.
func (b book) applied(cluster v1alpha1.ClusterName) look {
	return func(ctx context.Context) (bool, string, error) {
		pkg, err := b.find(ctx)
		if err != nil {
			return false, "", err
		}
		if pkg == nil {
			return false, "", fmt.Errorf("package %s is gone", b.key)
		}
		held, err := b.held(ctx, cluster)
		switch {
		case err != nil:
			return false, "", err
		case pkg.Status.ObservedGeneration != pkg.Generation || pkg.Status.Release == "" || held == nil || held.Release != pkg.Status.Release:
			return false, "the hub is not so far: " + conditions(pkg), nil
		}
		// While a source that was just named is fetched and rendered, the release of the one before is current.
		release := &v1alpha1.Release{}
		if err := b.hub.Get(ctx, kube.ObjectKey{Namespace: b.key.Namespace, Name: pkg.Status.Release}, release); kube.IgnoreNotFound(err) != nil {
			return false, "", err
		}
		switch {
		case !delivery.SameSource(release.Spec.Source, pkg.Spec.Source):
			return false, "the hub is not so far: " + conditions(pkg), nil
		case held.Phase != v1alpha1.PackageApplied:
			return false, strings.TrimSuffix(fmt.Sprintf("the agent has applied %d of %s: %s", held.Applied, v1alpha1.Counted(held.Objects, "object"), reason(held)), ": "), nil
		}
		return true, "", nil
	}
}

func conditions(pkg *v1alpha1.Package) string {
	said := map[string]bool{}
	for _, c := range pkg.Status.Conditions {
		if c.Status != metav1.ConditionTrue && c.Message != "" {
			said[c.Message] = true
		}
	}
	if len(said) == 0 {
		return "it has said nothing yet"
	}
	return strings.Join(slices.Sorted(maps.Keys(said)), "; ")
}

func reason(held *v1alpha1.MemberPackage) string {
	for _, f := range held.Failures {
		return fmt.Sprintf("%s: %s", f.Object, f.Message)
	}
	return held.Message
}

// gone says whether the agent holds nothing of the Package any more.
func (b book) gone(cluster v1alpha1.ClusterName) look {
	return func(ctx context.Context) (bool, string, error) {
		held, err := b.held(ctx, cluster)
		if err != nil || held == nil {
			return err == nil, "", err
		}
		return false, strings.TrimSuffix("the agent has not let go yet: "+reason(held), ": "), nil
	}
}

// deleted says whether the Package is gone.
func (b book) deleted(ctx context.Context) (bool, string, error) {
	pkg, err := b.find(ctx)
	if err != nil || pkg == nil {
		return err == nil, "", err
	}
	return false, "the hub still deletes the package: " + conditions(pkg), nil
}

func (b book) held(ctx context.Context, cluster v1alpha1.ClusterName) (*v1alpha1.MemberPackage, error) {
	var m v1alpha1.MemberCluster
	if err := b.hub.Get(ctx, kube.ObjectKey{Name: string(cluster)}, &m); err != nil {
		return nil, err
	}
	key := v1alpha1.KeyOf(b.key.Namespace, b.key.Name)
	for i := range m.Status.Packages {
		if m.Status.Packages[i].Package == key {
			return &m.Status.Packages[i], nil
		}
	}
	return nil, nil
}
