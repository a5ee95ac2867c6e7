package agent

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/version"
)

// What the agent keeps in its folder beside packagesDir and stateFile (home.go).
const (
	identityDir  = "identity"
	farewellName = "farewell.json"
)

// membership is the agent's time in a fleet, from `umbel join` to `umbel leave`.
type membership struct {
	Options
	boot  v1alpha1.Bootstrap
	api   *memberAPI
	proxy http.Handler
}

// run is the list of what runs in a member. It returns session.ErrDetached when the member has left the fleet, and
// session.ErrJoinedAnew when there is another bootstrap.
func (m *membership) run(ctx context.Context) error {
	home, err := settle(ctx, m.Options, m.api.client)
	if err != nil {
		return err
	}
	letGo, err := m.hasLetGo(ctx)
	if err != nil {
		return err
	}
	keyring, err := identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: []byte(m.boot.CA), Log: m.Log})
	if err != nil {
		return err
	}
	// The engine pulls through the session, the session reports what the engine holds: hub is set before either runs.
	var hub *session.Client
	engine, err := apply.New(apply.Needs{
		Dir: m.Dir, Config: m.Config, Log: m.Log, Now: time.Now,
		Fetch: func(ctx context.Context, repository, digest string, size int64) ([]byte, error) {
			store, err := content.NewStore("http://hub", hub.Content())
			if err != nil {
				return nil, err
			}
			return store.Pull(ctx, repository, digest, size)
		},
	})
	if err != nil {
		return fmt.Errorf("opening the desired state in %s: %w", m.Dir, err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	repairing, rest := context.WithCancel(groupCtx)
	defer rest()
	rests := make(chan struct{})
	hub, err = session.NewClient(session.ClientConfig{
		Bootstrap: m.boot, Keyring: keyring, Kube: m.proxy, Log: m.Log,
		Reread: func() (v1alpha1.Bootstrap, error) { return readBootstrap(m.Bootstrap) },
		Agent: session.AgentConfig{
			Version: version.Version, Packages: engine, CheckAPI: m.api.check, LetGo: letGo, Log: m.Log,
			Detach: func(ctx context.Context, wish *wire.Detach) error {
				if wish.GetPrune() {
					if err := engine.RemoveAll(ctx); err != nil {
						return err
					}
				}
				rest() // what is left stays as it is, and nobody looks after it any more
				<-rests
				return m.farewells().save(ctx, farewellOf(m.boot))
			},
		},
	})
	if err != nil {
		return err
	}

	m.Log.Info("agent starts", "cluster", m.boot.Cluster, "hub", m.boot.Address, "version", version.Version)
	group.Go(func() error { return hub.Run(groupCtx) }) // news from the hub, and word back
	if !letGo {
		group.Go(func() error { defer close(rests); return engine.Run(repairing) }) // what should be here, is
	}
	return group.Wait()
}

// hasLetGo says whether the agent has let go in this membership. What it let go of in an earlier one is forgotten first:
// it was not to be looked after any more, and the agent was killed before it was gone.
func (m *membership) hasLetGo(ctx context.Context) (bool, error) {
	said, err := m.farewells().load(ctx)
	if err != nil {
		return false, err
	}
	if said == (farewell{}) || said == farewellOf(m.boot) {
		return said != (farewell{}), nil
	}
	m.Log.Info("the cluster left its fleet and was joined anew: what it held then is forgotten")
	if err := m.forget(packagesDir); err != nil {
		return false, err
	}
	return false, m.farewells().save(ctx, farewell{})
}

// end takes away what joining installed and what the agent kept, in an order in which it may be killed and begin again:
// what goes last is the farewell, by which it knows that it is to go.
func (m *membership) end(ctx context.Context) error {
	installed, err := m.api.installed(ctx)
	if err != nil {
		return err
	}
	if installed != nil && farewellOf(*installed) != farewellOf(m.boot) {
		m.Log.Info("the cluster is being joined anew: what is installed stays")
		return nil
	}
	if err := m.api.uninstall(ctx); err != nil {
		return err
	}
	if err := m.forget(packagesDir, identityDir, stateFile, farewellName); err != nil {
		return err
	}
	m.Log.Info("the member has left the fleet, and the agent with it")
	return nil
}

// forget deletes parts of the agent's folder, in this order.
func (m *membership) forget(parts ...string) error {
	for _, part := range parts {
		if err := os.RemoveAll(filepath.Join(m.Dir, part)); err != nil {
			return fmt.Errorf("deleting what the agent kept: %w", err)
		}
	}
	return nil
}

// farewells is where this agent's farewell is.
func (m *membership) farewells() farewellHome {
	if m.isPod() {
		return farewellMap{m.api.client, m.Log}
	}
	return farewellFile(filepath.Join(m.Dir, farewellName))
}

// isPod says whether the agent runs as a pod of its member.
func (o Options) isPod() bool { return o.Config.BearerTokenFile == serviceAccountToken }
