package machine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"umbel.dev/umbel/internal/lifecycle/local/network"
)

// SharedFile is there, below the folder of a member's machine, while the control plane has several: then the API's address is that of
// the member that holds a Lease, and otherwise the member's.
const SharedFile = "endpoint/shared"

// How long the API's address may be with a member that is gone. The Lease is renewed by the member's own API server: one that
// does not serve loses the address as well.
const (
	endpointLease, endpointRenew, endpointRetry = 6 * time.Second, 4 * time.Second, time.Second

	endpointName = "umbel-endpoint"
)

// endpointKeeper has the address of a cluster's API on this machine when it is to be here.
type endpointKeeper struct {
	spec Spec
	log  *slog.Logger
}

func (k *endpointKeeper) run(ctx context.Context) error {
	path := filepath.Join(k.spec.Dir, SharedFile)
	watcher, err := watchFile(path)
	if err != nil {
		return err
	}
	defer watcher.Close()
	// Whoever was killed here may have had the address, and another member may have it by now.
	if _, err := os.Stat(path); err == nil {
		k.do("beginning without", network.Drop(k.spec.Address))
	}
	for {
		_, err := os.Stat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		keep := k.own
		if err == nil {
			keep = k.share
		}
		keeping, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- keep(keeping) }()
		changed := nextChange(ctx, watcher, path)
		stop()
		if err := errors.Join(<-ended, changed); err != nil {
			return ignoreEnd(ctx, err)
		}
	}
}

// own has the address here: there is nobody else who might have it.
func (k *endpointKeeper) own(context.Context) error { return network.Take(k.spec.Address) }

// share has the address here while this member holds the Lease.
func (k *endpointKeeper) share(ctx context.Context) error {
	plane, err := k.spec.ControlPlane()
	if err != nil {
		return err
	}
	config, err := plane.EndpointConfig()
	if err != nil {
		return err
	}
	config.Timeout = endpointRenew
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: endpointName, LeaseDuration: endpointLease, RenewDeadline: endpointRenew, RetryPeriod: endpointRetry, ReleaseOnCancel: true,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: endpointName}, Client: client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: k.spec.Node},
		},
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { k.do("taking", network.Take(k.spec.Address)) },
			OnStoppedLeading: func() { k.do("giving up", network.Drop(k.spec.Address)) },
			OnNewLeader: func(holder string) {
				if holder != k.spec.Node {
					k.do("leaving to "+holder, network.Drop(k.spec.Address))
				}
			},
		},
	})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		elector.Run(ctx) // until the Lease is lost
	}
	return nil
}

func (k *endpointKeeper) do(what string, err error) {
	if err != nil {
		k.log.Error(what+" the API's address", "address", k.spec.Address, "error", err)
		return
	}
	k.log.Info(what+" the API's address", "address", k.spec.Address)
}
