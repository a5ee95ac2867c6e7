package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
	"umbel.dev/umbel/internal/version"
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

// Run runs the agent until ctx ends, or until the member has left the fleet.
func Run(ctx context.Context, o Options) error {
	boot, err := readBootstrap(o.Bootstrap)
	if err != nil {
		return err
	}
	api, err := newMemberAPI(o.Config)
	if err != nil {
		return err
	}
	proxy, err := kubeproxy.NewHandler(o.Config, o.Log)
	if err != nil {
		return err
	}

	home, err := settle(ctx, o, api.client)
	if err != nil {
		return err
	}
	keyring, err := identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: []byte(boot.CA), Log: o.Log})
	if err != nil {
		return err
	}
	// The engine pulls through the session, the session reports what the engine holds: hub is set before either runs.
	var hub *session.Client
	engine, err := apply.New(apply.Needs{
		Dir: o.Dir, Config: o.Config, Log: o.Log, Now: time.Now,
		Fetch: func(ctx context.Context, repository, digest string, size int64) ([]byte, error) {
			store, err := content.NewStore("http://hub", hub.Content())
			if err != nil {
				return nil, err
			}
			return store.Pull(ctx, repository, digest, size)
		},
	})
	if err != nil {
		return fmt.Errorf("opening the desired state in %s: %w", o.Dir, err)
	}
	hub, err = session.NewClient(session.ClientConfig{
		Bootstrap: boot, Keyring: keyring, Kube: proxy, Log: o.Log,
		Agent: session.AgentConfig{
			Version: version.Version, Packages: engine, CheckAPI: api.check, Log: o.Log,
			Detach: func(ctx context.Context, wish *wire.Detach) error {
				if wish.GetPrune() {
					return engine.RemoveAll(ctx)
				}
				return nil // everything stays where it is
			},
		},
	})
	if err != nil {
		return err
	}

	o.Log.Info("agent starts", "cluster", boot.Cluster, "hub", boot.Address, "version", version.Version)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return engine.Run(groupCtx) }) // what should be here, is
	group.Go(func() error { return hub.Run(groupCtx) })    // news from the hub, and word back
	err = group.Wait()
	if !errors.Is(err, session.ErrDetached) {
		return err
	}
	if err := api.uninstall(ctx, o); err != nil {
		return err
	}
	<-ctx.Done() // whoever runs this process would only start it again
	return nil
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
