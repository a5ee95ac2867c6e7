package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	addonsv1beta1 "sigs.k8s.io/cluster-api/api/addons/v1beta1"
	addonsv1 "sigs.k8s.io/cluster-api/api/addons/v1beta2"
	bootstrapv1beta1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta1"
	bootstrapv1 "sigs.k8s.io/cluster-api/api/bootstrap/kubeadm/v1beta2"
	controlplanev1beta1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta1"
	controlplanev1 "sigs.k8s.io/cluster-api/api/controlplane/kubeadm/v1beta2"
	clusterv1beta1 "sigs.k8s.io/cluster-api/api/core/v1beta1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	ipamv1alpha1 "sigs.k8s.io/cluster-api/api/ipam/v1alpha1"
	ipamv1beta1 "sigs.k8s.io/cluster-api/api/ipam/v1beta1"
	ipamv1 "sigs.k8s.io/cluster-api/api/ipam/v1beta2"
	runtimev1alpha1 "sigs.k8s.io/cluster-api/api/runtime/v1alpha1"
	runtimev1 "sigs.k8s.io/cluster-api/api/runtime/v1beta2"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/core/setup"
	"sigs.k8s.io/cluster-api/feature"
	"sigs.k8s.io/cluster-api/util/index"
	"sigs.k8s.io/cluster-api/util/secret"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// resync is how often everything is looked at without a cause, and the rates are those of the clusters' API servers; all
// as in Cluster API's managers.
const (
	resync                   = 10 * time.Minute
	clusterQPS, clusterBurst = 20, 30
)

// newScheme knows Cluster API's kinds in all versions that are served: webhooks convert between them.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme, storagev1.AddToScheme,
		clusterv1beta1.AddToScheme, clusterv1.AddToScheme, addonsv1beta1.AddToScheme, addonsv1.AddToScheme,
		runtimev1alpha1.AddToScheme, runtimev1.AddToScheme, ipamv1alpha1.AddToScheme, ipamv1beta1.AddToScheme, ipamv1.AddToScheme,
		bootstrapv1beta1.AddToScheme, bootstrapv1.AddToScheme, controlplanev1beta1.AddToScheme, controlplanev1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// newManager makes the manager of all parts. There is one at a time: the hub that leads runs it.
func newManager(api *rest.Config, o options) (ctrl.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	caches := setup.ManagerCacheOptions(scheme, name, "", resync)
	keepSecrets(caches)
	m, err := ctrl.NewManager(api, ctrl.Options{
		Scheme: scheme, Cache: caches, Client: setup.ManagerClientOptions(), Metrics: metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: o.health,
		Controller:             config.Controller{UsePriorityQueue: new(feature.Gates.Enabled(feature.PriorityQueue)), CacheSyncTimeout: 5 * time.Minute},
		WebhookServer:          webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: o.port, CertDir: o.certDir}),
	})
	if err != nil {
		return nil, fmt.Errorf("reaching the hub's API at %s: %w", api.Host, err)
	}
	return m, errors.Join(
		m.AddReadyzCheck("webhook", m.GetWebhookServer().StartedChecker()),
		m.AddHealthzCheck("webhook", m.GetWebhookServer().StartedChecker()),
	)
}

// keepSecrets lets the cache keep what is in the Secrets of clusters that one of the parts here reads: core's own setting
// keeps kubeconfigs alone, and the control plane would miss its certificates. Of all other Secrets nothing is kept.
func keepSecrets(caches cache.Options) {
	for object, by := range caches.ByObject {
		if _, ok := object.(*corev1.Secret); !ok {
			continue
		}
		by.Transform = func(in any) (any, error) {
			if s, ok := in.(*corev1.Secret); ok {
				s.SetManagedFields(nil)
				if !secret.HasPurposeSuffix(s.Name) && !strings.HasSuffix(s.Name, "-"+string(secret.Kubeconfig)) {
					s.Data = nil
				}
			}
			return in, nil
		}
		caches.ByObject[object] = by
	}
}

// connect adds what reaches the clusters themselves, and returns it with the client that reads their Secrets from the cache.
func connect(ctx context.Context, m ctrl.Manager) (clustercache.ClusterCache, client.Client, error) {
	if err := index.AddDefaultIndexes(ctx, m); err != nil {
		return nil, nil, fmt.Errorf("indexing Cluster API's objects: %w", err)
	}
	secrets, err := setup.CreateSecretCachingClient(m)
	if err != nil {
		return nil, nil, fmt.Errorf("making the client of Secrets: %w", err)
	}
	options := setup.ClusterCacheClientOptions(name, clusterQPS, clusterBurst)
	clusters, err := clustercache.SetupWithManager(ctx, m, clustercache.Options{
		SecretClient: secrets, Cache: setup.ClusterCacheCacheOptions(), Client: options,
	}, controller.Options{MaxConcurrentReconciles: 100})
	return clusters, secrets, err
}
