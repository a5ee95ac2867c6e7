package describe

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/cli/view"
)

// reader puts dossiers together.
type reader struct {
	*client.Factory
	hub    *client.Hub
	moment view.Moment
}

func (r *reader) cluster(ctx context.Context, name string) (*clusterDossier, error) {
	about := &clusterDossier{Cluster: &v1alpha1.MemberCluster{}, Hub: hubStateOf(r.moment)}
	if err := r.get(ctx, kinds.Clusters, kube.ObjectKey{Name: name}, about.Cluster); err != nil {
		return nil, err
	}
	about.Events = r.events(ctx, about.Cluster)
	if r.moment.IsConnected(about.Cluster) {
		about.Nodes = askNodes(ctx, r.Factory, r.hub, about.Cluster)
	}
	return about, nil
}

func (r *reader) pkg(ctx context.Context, key kube.ObjectKey) (*packageDossier, error) {
	about := &packageDossier{Package: &v1alpha1.Package{}, Hub: hubStateOf(r.moment)}
	if err := r.get(ctx, kinds.Packages, key, about.Package); err != nil {
		return nil, err
	}
	fleet := view.Fleet{Package: about.Package}
	placement, release := &v1alpha1.Placement{}, &v1alpha1.Release{}
	if ok, err := r.found(ctx, kinds.Placements, kube.ObjectKey{Namespace: key.Namespace, Name: about.Package.Spec.PlacementRef.Name}, placement); err != nil {
		return nil, err
	} else if ok {
		about.Placement, fleet.Placement = placement, placement
	}
	if ok, err := r.found(ctx, kinds.Releases, kube.ObjectKey{Namespace: key.Namespace, Name: about.Package.Status.Release}, release); err != nil {
		return nil, err
	} else if ok {
		fleet.Release = release
	}
	var clusters v1alpha1.MemberClusterList
	if err := r.hub.List(ctx, &clusters); err != nil {
		return nil, err
	}
	fleet.Clusters = clusters.Items
	about.Clusters = r.moment.States(fleet)
	about.Events = r.events(ctx, about.Package)
	return about, nil
}

func (r *reader) placement(ctx context.Context, key kube.ObjectKey) (*placementDossier, error) {
	about := &placementDossier{Placement: &v1alpha1.Placement{}, Hub: hubStateOf(r.moment), Clusters: []v1alpha1.MemberCluster{}}
	if err := r.get(ctx, kinds.Placements, key, about.Placement); err != nil {
		return nil, err
	}
	var clusters v1alpha1.MemberClusterList
	if err := r.hub.List(ctx, &clusters); err != nil {
		return nil, err
	}
	for _, cluster := range clusters.Items {
		if slices.Contains(about.Placement.Status.Clusters, v1alpha1.ClusterName(cluster.Name)) {
			plain(kinds.Clusters, &cluster)
			about.Clusters = append(about.Clusters, cluster)
		}
	}
	var packages v1alpha1.PackageList
	if err := r.hub.List(ctx, &packages, kube.InNamespace(key.Namespace)); err != nil {
		return nil, err
	}
	for _, pkg := range packages.Items {
		if pkg.Spec.PlacementRef.Name == key.Name {
			about.Packages = append(about.Packages, pkg.Name)
		}
	}
	about.Events = r.events(ctx, about.Placement)
	return about, nil
}

// scope needs the Scope alone. What whoever asks may not see of the rest is named, and not guessed.
func (r *reader) scope(ctx context.Context, name string) (*scopeDossier, error) {
	about := &scopeDossier{Scope: &v1alpha1.Scope{}, Clusters: []view.ClusterState{}, Hub: hubStateOf(r.moment)}
	if err := r.get(ctx, kinds.Scopes, kube.ObjectKey{Name: name}, about.Scope); err != nil {
		return nil, err
	}
	about.Events = r.events(ctx, about.Scope)
	if about.Scope.Status.Package == "" {
		return about, nil
	}
	namespace, pkg := about.Scope.Status.Package.Split()
	delivered, err := r.pkg(ctx, kube.ObjectKey{Namespace: namespace, Name: pkg})
	switch {
	case err == nil:
		about.Clusters = delivered.Clusters
	case apierrors.IsForbidden(err):
		about.Unseen = append(about.Unseen, fmt.Sprintf("whether these are the latest bindings: %v", err))
		return about, r.scopeOfClusters(ctx, about)
	case !apierrors.IsNotFound(err):
		return nil, err
	}
	return about, nil
}

// scopeOfClusters tells of the clusters that may be seen what they say themselves.
func (r *reader) scopeOfClusters(ctx context.Context, about *scopeDossier) error {
	var clusters v1alpha1.MemberClusterList
	if err := r.hub.ListClusters(ctx, &clusters, labels.Everything()); apierrors.IsForbidden(err) {
		about.Unseen = append(about.Unseen, fmt.Sprintf("which clusters have it: %v", err))
		return nil
	} else if err != nil {
		return err
	}
	about.Clusters = r.moment.Held(about.Scope.Status.Package, clusters.Items)
	counts := about.Scope.Status.Clusters
	if seen, all := int32(len(about.Clusters)), counts.Selected+counts.Removing; seen < all {
		about.Unseen = append(about.Unseen, fmt.Sprintf("clusters that you may not read, or that have not reported yet: %d of %d", all-seen, all))
	}
	return nil
}

func (r *reader) release(ctx context.Context, key kube.ObjectKey) (*releaseDossier, error) {
	about := &releaseDossier{Release: &v1alpha1.Release{}, Hub: hubStateOf(r.moment), Clusters: []v1alpha1.ClusterName{}}
	if err := r.get(ctx, kinds.Releases, key, about.Release); err != nil {
		return nil, err
	}
	owner := kube.ObjectKey{Namespace: key.Namespace, Name: about.Release.Spec.PackageRef.Name}
	var pkg v1alpha1.Package
	if err := r.hub.Get(ctx, owner, &pkg); kube.IgnoreNotFound(err) != nil {
		return nil, err
	}
	about.Current = pkg.Status.Release == key.Name
	var clusters v1alpha1.MemberClusterList
	if err := r.hub.List(ctx, &clusters); err != nil {
		return nil, err
	}
	for _, cluster := range clusters.Items {
		holds := func(held v1alpha1.MemberPackage) bool {
			return held.Package == v1alpha1.KeyOf(owner.Namespace, owner.Name) && held.Release == key.Name
		}
		if slices.ContainsFunc(cluster.Status.Packages, holds) {
			about.Clusters = append(about.Clusters, v1alpha1.ClusterName(cluster.Name))
		}
	}
	about.Events = r.events(ctx, about.Release)
	return about, nil
}

func (r *reader) rollout(ctx context.Context, key kube.ObjectKey) (*rolloutDossier, error) {
	about := &rolloutDossier{Rollout: &v1alpha1.Rollout{}, Hub: hubStateOf(r.moment)}
	if err := r.get(ctx, kinds.Rollouts, key, about.Rollout); err != nil {
		return nil, err
	}
	about.Events = r.events(ctx, about.Rollout)
	return about, nil
}

func (r *reader) plan(ctx context.Context, key kube.ObjectKey) (*planDossier, error) {
	about := &planDossier{Plan: &v1alpha1.Plan{}}
	if err := r.get(ctx, kinds.Plans, key, about.Plan); err != nil {
		return nil, err
	}
	about.Events = r.events(ctx, about.Plan)
	return about, nil
}

func (r *reader) get(ctx context.Context, kind kinds.Kind, key kube.ObjectKey, into kube.Object) error {
	if err := r.hub.Get(ctx, key, into); err != nil {
		return err
	}
	plain(kind, into)
	return nil
}

// found reads what an object refers to; false means that it does not exist.
func (r *reader) found(ctx context.Context, kind kinds.Kind, key kube.ObjectKey, into kube.Object) (bool, error) {
	if key.Name == "" {
		return false, nil
	}
	err := r.get(ctx, kind, key, into)
	return err == nil, kube.IgnoreNotFound(err)
}

// plain makes an object read as kubectl writes it: with its kind, and without who manages which field.
func plain(kind kinds.Kind, object kube.Object) {
	object.GetObjectKind().SetGroupVersionKind(kind.GVK)
	object.SetManagedFields(nil)
}

// event is something that happened to an object.
type event struct {
	Time    metav1.Time `json:"time"`
	Type    string      `json:"type"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Count   int32       `json:"count"`
}

// events reads what happened to an object, the latest last. Who may not read events is told so, and gets the rest.
func (r *reader) events(ctx context.Context, object kube.Object) []event {
	const most = 20
	var list corev1.EventList
	err := r.hub.List(ctx, &list,
		kube.InNamespace(cmp.Or(object.GetNamespace(), metav1.NamespaceDefault)), // those of cluster-wide objects are there
		kube.MatchingFields{"involvedObject.uid": string(object.GetUID())})
	if err != nil {
		r.Note("its events could not be read: %v", r.hub.Explain(err))
		return nil
	}
	var events []event
	for _, e := range list.Items {
		events = append(events, eventOf(e))
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.Time.Compare(b.Time.Time) })
	return events[max(0, len(events)-most):]
}

// eventOf reads an event of either of the two APIs that write them.
func eventOf(e corev1.Event) event {
	at, count := e.LastTimestamp.Time, max(1, e.Count)
	if e.Series != nil {
		at, count = e.Series.LastObservedTime.Time, max(count, e.Series.Count)
	}
	for _, other := range []time.Time{e.EventTime.Time, e.CreationTimestamp.Time} {
		if at.IsZero() {
			at = other
		}
	}
	return event{Time: metav1.Time{Time: at.Truncate(time.Second)}, Type: e.Type, Reason: e.Reason, Message: e.Message, Count: count}
}
