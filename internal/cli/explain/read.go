package explain

import (
	"context"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/kinds"
	"umbel.dev/umbel/internal/placement/decide"
)

// Scene is what an account is made of. What is nil is not there.
type Scene struct {
	// Package is nil where a placement alone is explained.
	Package *v1alpha1.Package
	// Placement is the package's, or the one that is asked about; PlacementName is its name, be it there or not.
	Placement     *v1alpha1.Placement
	PlacementName string
	// Release is the package's current one.
	Release *v1alpha1.Release
	// Rollout is the newest of the package that has begun.
	Rollout *v1alpha1.Rollout
	// Cluster is the one that is asked about; nil where all are.
	Cluster *v1alpha1.MemberCluster
	// Clusters are all, where all are asked about; of a package that is to leave the cluster, to know whether too many lose it
	// at once.
	Clusters []v1alpha1.MemberCluster

	compiled func() (*decide.Plan, error)
}

// compile reads the placement's spec, once for however many clusters.
func (s *Scene) compile() (*decide.Plan, error) {
	if s.compiled == nil {
		s.compiled = sync.OnceValues(func() (*decide.Plan, error) { return decide.Compile(s.Placement) })
	}
	return s.compiled()
}

type reader struct {
	hub       *client.Hub
	namespace string
}

func (r *reader) scene(ctx context.Context, kind kinds.Kind, name, cluster string) (*Scene, error) {
	s := &Scene{PlacementName: name}
	if kind == kinds.Packages {
		s.Package = &v1alpha1.Package{}
		if err := r.hub.Get(ctx, r.key(name), s.Package); err != nil {
			return nil, err
		}
		s.PlacementName = s.Package.Spec.PlacementRef.Name
		var err error
		if s.Release, err = found(ctx, r, s.Package.Status.Release, &v1alpha1.Release{}); err != nil {
			return nil, err
		}
	}
	if s.Package != nil && s.Package.Spec.Rollout != nil {
		if err := r.rollout(ctx, s); err != nil {
			return nil, err
		}
	}
	var err error
	if s.Placement, err = found(ctx, r, s.PlacementName, &v1alpha1.Placement{}); err != nil {
		return nil, err
	}
	if kind == kinds.Placements && s.Placement == nil {
		return nil, r.hub.Get(ctx, r.key(name), &v1alpha1.Placement{})
	}
	s.Cluster = &v1alpha1.MemberCluster{}
	if err := r.hub.Get(ctx, kube.ObjectKey{Name: cluster}, s.Cluster); err != nil {
		return nil, err
	}
	if s.leaves() {
		err = r.list(ctx, s)
	}
	return s, err
}

// rollout reads the rollout that says what each cluster is told: the newest that has begun, and not in a backup.
func (r *reader) rollout(ctx context.Context, s *Scene) error {
	var list v1alpha1.RolloutList
	if err := r.hub.List(ctx, &list, kube.InNamespace(r.namespace)); err != nil {
		return err
	}
	for i := range list.Items {
		one := &list.Items[i]
		_, restored := one.Annotations[v1alpha1.RestoredAnnotation]
		if one.Status.Phase != "" && !restored && metav1.IsControlledBy(one, s.Package) && (s.Rollout == nil || one.Spec.Number > s.Rollout.Spec.Number) {
			s.Rollout = one
		}
	}
	return nil
}

// leaves says whether the cluster holds the package and is not to hold it.
func (s *Scene) leaves() bool {
	return s.Package != nil && s.Placement != nil && heldBy(s.Cluster, v1alpha1.KeyOf(s.Package.Namespace, s.Package.Name)) != nil &&
		!slices.Contains(s.Placement.Status.Clusters, v1alpha1.ClusterName(s.Cluster.Name))
}

func (r *reader) list(ctx context.Context, s *Scene) error {
	var clusters v1alpha1.MemberClusterList
	err := r.hub.ListClusters(ctx, &clusters, labels.Everything())
	s.Clusters = clusters.Items
	return err
}

func (r *reader) survey(ctx context.Context, name string) (*Scene, error) {
	s := &Scene{PlacementName: name, Placement: &v1alpha1.Placement{}}
	if err := r.hub.Get(ctx, r.key(name), s.Placement); err != nil {
		return nil, err
	}
	return s, r.list(ctx, s)
}

func (r *reader) key(name string) kube.ObjectKey {
	return kube.ObjectKey{Namespace: r.namespace, Name: name}
}

// found reads what an object refers to, or nil when it does not exist.
func found[T kube.Object](ctx context.Context, r *reader, name string, into T) (T, error) {
	var none T
	if name == "" {
		return none, nil
	}
	err := r.hub.Get(ctx, r.key(name), into)
	if apierrors.IsNotFound(err) {
		return none, nil
	}
	return into, err
}
