package profile

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	inventory "sigs.k8s.io/cluster-inventory-api/apis/v1alpha1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"umbel.dev/umbel/api/v1alpha1"
)

// newCache adds a cache of our profiles and of hub-info alone to the manager: others may have many of both.
func newCache(mgr ctrl.Manager) (cache.Cache, error) {
	system := map[string]cache.Config{v1alpha1.SystemNamespace: {}}
	own, err := cache.New(mgr.GetConfig(), cache.Options{
		Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient(),
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&inventory.ClusterProfile{}: {
				Namespaces: system, Label: labels.SelectorFromSet(labels.Set{inventory.LabelClusterManagerKey: Manager}),
			},
			&corev1.ConfigMap{}: {
				Namespaces: system, Field: fields.OneTermEqualSelector("metadata.name", v1alpha1.HubInfoConfigMap),
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing the cache of profiles: %w", err)
	}
	return own, mgr.Add(own)
}

// shows passes changes of a member that show in its profile. Most of what an agent reports does not.
func shows() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*v1alpha1.MemberCluster)
		after, also := e.ObjectNew.(*v1alpha1.MemberCluster)
		return !ok || !also || !equality.Semantic.DeepEqual(Plan(before, Door{}, nil), Plan(after, Door{}, nil))
	}}
}
