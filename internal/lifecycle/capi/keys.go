package capi

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
)

// keys are the access keys in the hub's namespace, as long as a provider runs that keeps what it once read of them (ADR 0098).
type keys struct {
	informer cache.Controller
	changed  atomic.Bool
}

// keysOf returns what is to be followed for a provider of these kinds, nil when that is nothing. Where the hub runs providers it may read what they may, which
// is every Secret of its API.
func (c *Controller) keysOf(provider string, kinds []string) (*keys, error) {
	if !slices.Contains(kinds, keeperKinds) {
		return nil, nil
	}
	clients, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, fmt.Errorf("following the access keys of provider %s: %w", provider, err)
	}
	k := &keys{}
	see := func(before, now any) {
		if outdates(before, now) && !k.changed.Swap(true) {
			c.Log.Info("an access key has changed: the provider that keeps it is started anew", "provider", provider)
		}
	}
	_, k.informer = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(clients.CoreV1().RESTClient(), "secrets", v1alpha1.SystemNamespace, fields.Everything()),
		ObjectType:    &corev1.Secret{},
		Handler: cache.ResourceEventHandlerFuncs{UpdateFunc: see, DeleteFunc: func(before any) {
			if last, missed := before.(cache.DeletedFinalStateUnknown); missed {
				before = last.Obj
			}
			see(before, nil)
		}},
	})
	return k, nil
}

// outdated says whether the provider has a key that is another one by now.
func (k *keys) outdated() bool { return k != nil && k.changed.Load() }

// around does something while they are followed: no change from its beginning on is missed. It returns when both are done.
func (k *keys) around(ctx context.Context, do func()) {
	if k == nil {
		do()
		return
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() { k.informer.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), k.informer.HasSynced) {
		do()
	}
}
