package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"umbel.dev/umbel/internal/lifecycle/local/balancer"
)

// checkBalancer says what is missing for Services of type LoadBalancer, where they are asked for.
func (l *Local) checkBalancer(r Ranges) error {
	if !r.Balancer.IsValid() {
		return nil
	}
	programs := l.needs.Binaries.Balancer
	for _, path := range []string{programs.Controller, programs.Speaker, programs.Manifest} {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("the cluster asks for a load balancer, and MetalLB is not at %s: run `make balancer`", path)
		}
	}
	return nil
}

// installBalancer applies MetalLB, with the cluster's pool. It does not wait until that serves: there may be no machine yet.
func (h *healing) installBalancer(ctx context.Context) error {
	pool := h.record.balancer()
	if !pool.IsValid() {
		return h.forgetPool(ctx)
	}
	path := h.local.needs.Binaries.Balancer.Manifest
	manifest, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading MetalLB's manifest: %w", err)
	}
	objects, err := decode(path, string(manifest))
	if err != nil {
		return err
	}
	if objects, err = balancer.Adapt(objects, balancerImage); err != nil {
		return err
	}
	if err := h.apply(ctx, objects); err != nil {
		return err
	}
	return h.applyPool(ctx, balancer.Pool(pool))
}

// applyPool applies objects of kinds that have just been defined: the API serves them some moments later.
func (h *healing) applyPool(ctx context.Context, objects []*unstructured.Unstructured) error {
	ticker := time.NewTicker(apiPoll)
	defer ticker.Stop()
	for {
		err := h.apply(ctx, objects)
		if !apierrors.IsNotFound(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-ticker.C:
		}
	}
}

// forgetPool takes the pool of the origin out of a copy that has none of its own: two clusters would answer for its addresses.
func (h *healing) forgetPool(ctx context.Context) error {
	if !h.record.Copied {
		return nil
	}
	client, err := dynamic.NewForConfig(h.config)
	if err != nil {
		return err
	}
	pools := client.Resource(resources["IPAddressPool"]).Namespace(balancer.Namespace)
	err = pools.Delete(ctx, balancer.PoolName, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
