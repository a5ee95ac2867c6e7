package main

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/logutil"
	"go.uber.org/zap/zapcore"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/bootstrap/kubeadm/reconcilers/kubeadmconfig"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/controlplane/kubeadm/reconcilers/kubeadmcontrolplane"
	"sigs.k8s.io/cluster-api/core/reconcilers/cluster"
	"sigs.k8s.io/cluster-api/core/reconcilers/clusterclass"
	"sigs.k8s.io/cluster-api/core/reconcilers/clusterresourceset"
	"sigs.k8s.io/cluster-api/core/reconcilers/clusterresourcesetbinding"
	"sigs.k8s.io/cluster-api/core/reconcilers/machine"
	"sigs.k8s.io/cluster-api/core/reconcilers/machinedeployment"
	"sigs.k8s.io/cluster-api/core/reconcilers/machinehealthcheck"
	"sigs.k8s.io/cluster-api/core/reconcilers/machinepool"
	"sigs.k8s.io/cluster-api/core/reconcilers/machineset"
	topologycluster "sigs.k8s.io/cluster-api/core/reconcilers/topology/cluster"
	topologymachinedeployment "sigs.k8s.io/cluster-api/core/reconcilers/topology/machinedeployment"
	topologymachineset "sigs.k8s.io/cluster-api/core/reconcilers/topology/machineset"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"umbel.dev/umbel-capi/await"
)

// How long a cluster that does not answer keeps its state, how long the bootstrap tokens of machines live, and how long a member of etcd may
// take, as in Cluster API's managers.
//
// And how many objects of a kind are worked on at once, which is less than there: the API server is on the same machine, and several
// controllers write the status of each Cluster and each Machine. Of fifty at once most meet what another one wrote before their cache has
// it, and try again (ADR 0096). Nodes that are emptied are waited for instead.
const (
	connectionGrace = 50 * time.Second
	conditionsGrace = 5 * time.Minute
	tokenLife       = 15 * time.Minute
	etcdDial        = 10 * time.Second
	etcdCall        = 15 * time.Second
	atOnce          = 10
	drainsAtOnce    = 50
)

// reconciler is what each part of Cluster API is, and what we add to it.
type reconciler interface {
	SetupWithManager(context.Context, ctrl.Manager, controller.Options) error
}

func addReconcilers(ctx context.Context, m ctrl.Manager, clusters clustercache.ClusterCache, secrets client.Client) error {
	c, direct := m.GetClient(), m.GetAPIReader()
	e := ends{c}
	etcdLog, err := logutil.CreateDefaultZapLogger(zapcore.WarnLevel)
	if err != nil {
		return fmt.Errorf("making the log of etcd's client: %w", err)
	}
	for _, part := range []struct {
		name string
		reconciler
		at controller.Options
	}{
		{"ClusterClass", &clusterclass.Reconciler{Client: c}, limit(atOnce)},
		{"topology of Clusters", &topologycluster.Reconciler{Client: c, APIReader: direct, ClusterCache: clusters}, limit(atOnce)},
		{"topology of MachineDeployments", &topologymachinedeployment.Reconciler{Client: c, APIReader: direct}, limit(atOnce)},
		{"topology of MachineSets", &topologymachineset.Reconciler{Client: c, APIReader: direct}, limit(atOnce)},
		{"Cluster", &cluster.Reconciler{Client: c, APIReader: direct, ClusterCache: clusters, RemoteConnectionGracePeriod: connectionGrace}, await.Of(ctx, e.cluster, limit(atOnce))},
		{"Machine", &machine.Reconciler{Client: c, APIReader: direct, ClusterCache: clusters, RemoteConditionsGracePeriod: conditionsGrace}, limit(atOnce)},
		{"drains", &drainer{Client: c, clusters: clusters}, limit(drainsAtOnce)},
		{"MachineSet", &machineset.Reconciler{Client: c, APIReader: direct, ClusterCache: clusters, PreflightChecks: sets.New(clusterv1.MachineSetPreflightCheckAll)}, await.Of(ctx, e.set, limit(atOnce))},
		{"MachineDeployment", &machinedeployment.Reconciler{Client: c, APIReader: direct}, await.Of(ctx, e.deployment, limit(atOnce))},
		{"MachinePool", &machinepool.Reconciler{Client: c, APIReader: direct, ClusterCache: clusters}, limit(atOnce)},
		{"MachineHealthCheck", &machinehealthcheck.Reconciler{Client: c, ClusterCache: clusters}, limit(atOnce)},
		{"ClusterResourceSetBinding", &clusterresourcesetbinding.Reconciler{Client: c}, limit(atOnce)},
		{"KubeadmConfig", &kubeadmconfig.Reconciler{Client: c, SecretCachingClient: secrets, APIReader: direct, ClusterCache: clusters, TokenTTL: tokenLife}, limit(atOnce)},
		{"KubeadmControlPlane", &kubeadmcontrolplane.Reconciler{
			Client: c, APIReader: direct, SecretCachingClient: secrets, ClusterCache: clusters,
			EtcdDialTimeout: etcdDial, EtcdCallTimeout: etcdCall, EtcdLogger: etcdLog, RemoteConditionsGracePeriod: conditionsGrace,
		}, controller.Options{MaxConcurrentReconciles: atOnce, ReconciliationTimeout: 3 * time.Minute}}, // it may ask every member of etcd
	} {
		part.at.SkipNameValidation = new(true)
		if err := part.SetupWithManager(ctx, m, part.at); err != nil {
			return fmt.Errorf("adding the controller of %s: %w", part.name, err)
		}
	}
	return addResourceSets(ctx, m, clusters)
}

// addResourceSets adds what brings manifests into new clusters. It watches all Secrets: of these it keeps the metadata alone.
func addResourceSets(ctx context.Context, m ctrl.Manager, clusters clustercache.ClusterCache) error {
	names, err := cache.New(m.GetConfig(), cache.Options{
		Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient(), SyncPeriod: new(resync),
		DefaultTransform: func(in any) (any, error) {
			if _, ok := in.(*metav1.PartialObjectMetadata); !ok {
				return nil, fmt.Errorf("the cache of Secrets' metadata was to keep a %T", in)
			}
			return cache.TransformStripManagedFields()(in)
		},
	})
	if err != nil {
		return fmt.Errorf("making the cache of Secrets' metadata: %w", err)
	}
	if err := m.Add(names); err != nil {
		return err
	}
	sets := &clusterresourceset.Reconciler{Client: m.GetClient(), ClusterCache: clusters}
	return sets.SetupWithManager(ctx, m, limit(atOnce), names)
}

func limit(n int) controller.Options { return controller.Options{MaxConcurrentReconciles: n} }
