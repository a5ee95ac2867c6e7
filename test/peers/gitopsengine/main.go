// Command gitopsengine applies a folder of manifests as Argo CD's application controller does: with its engine, the gitops-engine,
// and the options of an Application with the defaults and automated sync. The objects of the whole cluster are kept in a cache;
// a pass compares with that, and when anything differs, everything is applied as by `kubectl apply`, first as a dry run.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/semaphore"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/argoproj/gitops-engine/pkg/cache"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/sync"
	"github.com/argoproj/gitops-engine/pkg/sync/common"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/gitops-engine/pkg/utils/tracing"

	"umbel.dev/umbel/test/peers/pass"
)

const (
	manager  = "argocd-controller"
	tracking = "argocd.argoproj.io/tracking-id"
	// The defaults of the controller: requests in a second and in a burst, and kubectl runs at once.
	qps, burst, runs = 50, 100, 20
)

func main() { pass.Main(start) }

type engine struct {
	config  *rest.Config
	owner   pass.Owner
	cluster cache.ClusterCache
	kubectl *kube.KubectlCmd
}

// info is what the cache keeps of an object besides: whose it is said to be.
type info struct{ tracking string }

func start(ctx context.Context, config *rest.Config, owner pass.Owner) (pass.Engine, error) {
	config.QPS, config.Burst = qps, burst
	slots := semaphore.NewWeighted(runs)
	kubectl := &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}, OnKubectlRun: func(string) (kube.CleanupFunc, error) {
		if err := slots.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		return func() { slots.Release(1) }, nil
	}}
	cluster := cache.NewClusterCache(config, cache.SetLogr(logr.Discard()), cache.SetKubectl(kubectl), cache.SetBatchEventsProcessing(true),
		cache.SetPopulateResourceInfoHandler(func(o *unstructured.Unstructured, _ bool) (any, bool) {
			id := o.GetAnnotations()[tracking]
			return &info{id}, id != ""
		}))
	if err := cluster.EnsureSynced(); err != nil {
		return nil, fmt.Errorf("filling the cache: %w", err)
	}
	return &engine{config, owner, cluster, kubectl}, nil
}

// id is how the controller marks an object of an Application.
func (e *engine) id(key kube.ResourceKey) string {
	return fmt.Sprintf("%s:%s/%s:%s/%s", e.owner.Name, key.Group, key.Kind, key.Namespace, key.Name)
}

// Apply compares, and syncs when there is a difference.
func (e *engine) Apply(ctx context.Context, objects []*unstructured.Unstructured) (changed int, err error) {
	for _, o := range objects {
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[tracking] = e.id(kube.GetResourceKey(o))
		o.SetAnnotations(annotations)
	}
	live, err := e.cluster.GetManagedLiveObjs(objects, func(r *cache.Resource) bool {
		found, _ := r.Info.(*info)
		return found != nil && found.tracking == e.id(r.ResourceKey())
	})
	if err != nil {
		return 0, fmt.Errorf("looking up what is there: %w", err)
	}
	found := sync.Reconcile(objects, live, e.owner.Namespace, e.cluster)
	diffs, err := diff.DiffArray(found.Target, found.Live, diff.WithLogr(logr.Discard()), diff.WithManager(manager), diff.WithGVKParser(e.cluster.GetGVKParser()))
	if err != nil {
		return 0, fmt.Errorf("comparing: %w", err)
	}
	for _, d := range diffs.Diffs {
		if d.Modified {
			changed++
		}
	}
	if changed == 0 {
		return 0, nil // the Application is Synced
	}
	return changed, e.sync(ctx, found)
}

// sync is the controller's loop, which goes round once in a second.
func (e *engine) sync(ctx context.Context, found sync.ReconciliationResult) error {
	syncing, cleanup, err := sync.NewSyncContext("HEAD", found, e.config, e.config, e.kubectl, e.owner.Namespace, e.cluster.GetOpenAPISchema(),
		sync.WithLogr(logr.Discard()), sync.WithOperationSettings(false, true, false, false), sync.WithManifestValidation(true),
		sync.WithServerSideApplyManager(manager))
	if err != nil {
		return fmt.Errorf("beginning to sync: %w", err)
	}
	defer cleanup()
	for {
		syncing.Sync()
		phase, message, results := syncing.GetState()
		if phase.Completed() {
			return outcome(phase, message, results)
		}
		select {
		case <-ctx.Done():
			syncing.Terminate()
			return context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

func outcome(phase common.OperationPhase, message string, results []common.ResourceSyncResult) error {
	if phase.Successful() {
		return nil
	}
	for _, r := range results {
		if r.Status == common.ResultCodeSyncFailed {
			return fmt.Errorf("%s: %s: %s", message, r.ResourceKey.String(), r.Message)
		}
	}
	return errors.New(message)
}
