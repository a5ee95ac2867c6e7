package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// Options are what Run needs.
type Options struct {
	// Dir is the agent's folder: the desired state, the inventories and, unless it runs as a pod, its key. It has to survive
	// the process.
	Dir string
	// Bootstrap is the file that says where the hub is (v1alpha1.Bootstrap as JSON).
	Bootstrap string
	// Config reaches the member's API server.
	Config *rest.Config
	Log    *slog.Logger
}

// Run runs the agent until ctx ends: one membership after the other. One ends when the member has left the fleet, and
// the next begins when `umbel join` writes another bootstrap.
func Run(ctx context.Context, o Options) error {
	api, err := newMemberAPI(o.Config)
	if err != nil {
		return err
	}
	proxy, err := kubeproxy.NewHandler(o.Config, o.Log)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		boot, err := readBootstrap(o.Bootstrap)
		if err != nil {
			return err
		}
		m := &membership{Options: o, boot: boot, api: api, proxy: proxy}
		err = m.run(ctx)
		switch {
		case errors.Is(err, session.ErrJoinedAnew):
			o.Log.Info("the cluster was joined anew: the agent begins again")
		case errors.Is(err, session.ErrDetached):
			if err := m.end(ctx); err != nil {
				return err
			}
			m.awaitAnother(ctx)
		default:
			return err
		}
	}
	return nil
}

// awaitAnother waits until there is another bootstrap, or ctx ends. If the agent ended instead, whoever runs it would
// only start it again.
func (m *membership) awaitAnother(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		boot, err := readBootstrap(m.Bootstrap)
		if err == nil && boot != m.boot {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func readBootstrap(path string) (v1alpha1.Bootstrap, error) {
	var boot v1alpha1.Bootstrap
	raw, err := os.ReadFile(path)
	if err != nil {
		return boot, fmt.Errorf("reading where the hub is: %w", err)
	}
	if err := json.Unmarshal(raw, &boot); err != nil {
		return boot, fmt.Errorf("reading where the hub is: %s: %w", path, err)
	}
	return boot, nil
}
