package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"

	"umbel.dev/umbel/internal/kube/controlplane"
	"umbel.dev/umbel/internal/kube/process"
)

// serviceCIDR is the range of cluster IPs of the embedded API. Nothing runs there, so nothing is reached by it.
var serviceCIDR = netip.MustParsePrefix("10.64.0.0/16")

// embedded is the hub's own etcd and kube-apiserver.
type embedded struct {
	plane      *controlplane.ControlPlane
	supervisor *process.Supervisor
}

func newEmbedded(home, binary string, ports controlplane.Ports, log *slog.Logger) (*embedded, error) {
	plane, err := controlplane.New(controlplane.Config{
		Name: "hub", Dir: Dir(home), Binary: binary, Address: netip.MustParseAddr("127.0.0.1"), Ports: ports, ServiceCIDR: serviceCIDR,
	})
	if err != nil {
		return nil, err
	}
	if err := plane.Prepare(); err != nil {
		return nil, fmt.Errorf("preparing the embedded API: %w", err)
	}
	supervisor, err := process.New(process.Config{
		Processes: plane.Processes(), LogDir: filepath.Join(Dir(home), "logs"), Log: log,
	})
	return &embedded{plane, supervisor}, err
}

// ready waits until the API serves, and grants what its people need.
func (e *embedded) ready(ctx context.Context) error {
	if err := e.supervisor.WaitReady(ctx); err != nil {
		return fmt.Errorf("waiting for the embedded API: %w", err)
	}
	return e.plane.Bootstrap(ctx)
}
