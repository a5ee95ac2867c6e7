package trust

import (
	"context"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"umbel.dev/umbel/api/v1alpha1"
)

// follower keeps a replica's Authority up to date with the Secret. It is a runnable of the manager that runs on every
// replica.
type follower struct {
	authority *Authority
	clients   kubernetes.Interface
	changed   func() error // what else is to follow
	log       *slog.Logger
}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (f *follower) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (f *follower) Start(ctx context.Context) error {
	follow(ctx, f.clients, "secrets", CASecret, &corev1.Secret{}, func(o any) {
		secret, ok := o.(*corev1.Secret)
		if !ok {
			return
		}
		before := f.authority.Bundle()
		if err := f.authority.take(secret); err != nil {
			f.log.Error("following the members' certificate authority: going on with the one before", "error", err)
			return
		}
		if string(before) != string(f.authority.Bundle()) {
			f.log.Info("the members' certificate authorities have changed", "issues", f.authority.Issuer().Certificate().Subject.CommonName)
		}
		if err := f.changed(); err != nil {
			f.log.Error("following the members' certificate authority", "error", err)
		}
	})
	return nil
}

// follow watches one object of SystemNamespace until ctx ends.
func follow(ctx context.Context, clients kubernetes.Interface, resource, name string, kind runtime.Object, handle func(any)) {
	source := cache.NewListWatchFromClient(clients.CoreV1().RESTClient(), resource, v1alpha1.SystemNamespace, fields.OneTermEqualSelector("metadata.name", name))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source, ObjectType: kind,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    handle,
			UpdateFunc: func(_, now any) { handle(now) },
			DeleteFunc: func(any) {}, // the hub goes on with what it knows; a backup brings it back
		},
	})
	informer.RunWithContext(ctx)
}
