package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/process"
)

// serviceCIDR is the range of cluster IPs of the embedded API. Nothing runs there, so nothing is reached by it.
var serviceCIDR = netip.MustParsePrefix("10.64.0.0/16")

// onOwnAPI runs serve on an API that it starts, and that outlives it: what serve ends with may have to be written.
func (o Options) onOwnAPI(ctx context.Context, state State, serve func(context.Context, *rest.Config, ...process.Process) error) error {
	own, err := newEmbedded(o.Home, filepath.Join(o.Programs, "umbel-kube"), state, o.Log)
	if err != nil {
		return err
	}
	apiCtx, stopAPI := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAPI()
	var api errgroup.Group
	api.Go(func() error { return own.supervisor.Run(apiCtx) })
	api.Go(func() error {
		controlplane.KeepRenewed(apiCtx, func(now time.Time) error { _, err := own.plane.Renew(now); return err }, o.Log)
		return nil
	})
	config, err := own.ready(ctx)
	if err == nil {
		err = serve(ctx, config, own.plane.Collector())
	}
	stopAPI()
	if stopped := api.Wait(); err == nil && ctx.Err() == nil {
		err = stopped
	}
	return err
}

// embedded is the hub's own etcd and kube-apiserver.
type embedded struct {
	plane      *controlplane.ControlPlane
	supervisor *process.Supervisor
}

func newEmbedded(home, binary string, state State, log *slog.Logger) (*embedded, error) {
	plane, err := controlplane.New(controlplane.Config{
		Name: "hub", Dir: Dir(home), Binary: binary, Address: netip.MustParseAddr("127.0.0.1"), Ports: state.Ports, ServiceCIDR: serviceCIDR,
	})
	if err != nil {
		return nil, err
	}
	if err := plane.Prepare(); err != nil {
		return nil, fmt.Errorf("preparing the embedded API: %w", err)
	}
	supervisor, err := process.New(process.Config{
		Processes: plane.Processes(), LogDir: filepath.Dir(LogFile(home)), Log: log,
	})
	return &embedded{plane, supervisor}, err
}

// ready waits until the API serves, grants what its people need, and returns how it is reached.
func (e *embedded) ready(ctx context.Context) (*rest.Config, error) {
	if err := e.supervisor.WaitReady(ctx); err != nil {
		return nil, fmt.Errorf("waiting for the embedded API: %w", err)
	}
	if err := e.plane.Bootstrap(ctx); err != nil {
		return nil, err
	}
	return e.plane.HubConfig()
}
