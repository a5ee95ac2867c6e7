package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/content"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/delivery/keyring"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/identity/seal"
	"umbel.dev/umbel/internal/metrics/queue"
	"umbel.dev/umbel/internal/metrics/scrape"
	"umbel.dev/umbel/internal/profile/about"
	"umbel.dev/umbel/internal/profile/expiry"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
	"umbel.dev/umbel/internal/upgrade/self"
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
	// Args are the arguments with which an agent that runs as a process was started: the program that it becomes is started
	// with them too. Without them it stays what it is.
	Args []string
	// AuditLog names the files in which the member's API servers write down who did what, as filepath.Match has it; empty where the
	// agent cannot see any.
	AuditLog string
	Log      *slog.Logger
	// measureEvery is how often the agent measures; the default is the profile's.
	measureEvery time.Duration
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
		boot, err := o.bootstrap(ctx, api)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		m := &membership{Options: o, boot: boot, api: api, proxy: proxy, stands: o.stance()}
		err = m.run(ctx)
		switch {
		case errors.Is(err, session.ErrJoinedAnew):
			o.Log.Info("the cluster was joined anew: the agent begins again")
		case errors.Is(err, session.ErrOtherLevel): // stand has said so
		case errors.Is(err, session.ErrKeyRevoked):
			o.Log.Warn("the agent's key was revoked on the hub: it makes another one, which a new token lets in; what is here stays and is repaired",
				"cluster", boot.Cluster)
			if err := m.forgetKey(ctx); err != nil {
				return err
			}
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

// membership is the agent's time in a fleet, from `umbel join` to `umbel leave`.
type membership struct {
	Options
	boot  v1alpha1.Bootstrap
	api   *memberAPI
	proxy http.Handler
	// stands is how far it goes; another level is another membership.
	stands *stance
}

// parts are what runs in a member. The engine pulls through the session, and the session reports what the engine holds: hub is
// the last, and there before any of them runs.
type parts struct {
	letGo      bool // nothing is looked after any more
	keyring    *identity.Keyring
	keys       *keyring.Keyring // for what comes encrypted
	engine     *apply.Engine
	properties *about.Keeper
	expiry     *expiry.Watcher
	scraper    *scrape.Scraper // nil when nothing can be measured
	measured   *queue.Queue    // for the hub, of the scraper
	upgrader   *self.Upgrader  // nil when nothing could make the agent another program
	hub        *session.Client
}

// run is the list of what runs in a member. It returns session.ErrDetached when the member has left the fleet,
// session.ErrJoinedAnew when there is another bootstrap, session.ErrOtherLevel when the hub has set another level, and
// session.ErrKeyRevoked when the agent needs a new key.
func (m *membership) run(ctx context.Context) error {
	p, err := m.open(ctx)
	if err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	repairing, rest := context.WithCancel(groupCtx)
	defer rest()
	rests := make(chan struct{})
	if p.hub, err = m.client(ctx, p, func() { rest(); <-rests }); err != nil {
		return err
	}
	fingerprint, err := p.keyring.Fingerprint()
	if err != nil {
		return err
	}
	m.Log.Info("agent starts", "cluster", m.boot.Cluster, "hub", m.boot.Address, "version", version.Version, "key", fingerprint[:12])
	group.Go(func() error { return p.hub.Run(groupCtx) }) // news from the hub, and word back
	if p.upgrader != nil {
		group.Go(func() error { return p.upgrader.Run(groupCtx) }) // which program this is, and is to be
	}
	if !p.letGo {
		if !m.observes() {
			group.Go(func() error { return m.stands.await(repairing, p.keys.Run) }) // what opens what comes encrypted
		}
		group.Go(func() error { defer close(rests); return m.stands.await(repairing, p.engine.Run) }) // what should be here, is
		group.Go(func() error { return m.stands.await(repairing, p.properties.Run) })                 // what the cluster says of itself
		group.Go(func() error { return p.expiry.Run(repairing) })                                     // when its certificates end
		if p.scraper != nil {
			group.Go(func() error { return p.scraper.Run(repairing) })                    // what it measures
			group.Go(func() error { return p.measured.Send(repairing, p.hub.Content()) }) // and brings to the hub
		}
	}
	return group.Wait()
}

// open opens what the agent keeps, and makes of it what runs; all but the hub's.
func (m *membership) open(ctx context.Context) (*parts, error) {
	p := &parts{}
	home, err := settle(ctx, m.Options, m.api.client)
	if err != nil {
		return nil, err
	}
	if p.letGo, err = m.hasLetGo(ctx); err != nil {
		return nil, err
	}
	if p.keyring, err = identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: []byte(m.boot.CA), Log: m.Log}); err != nil {
		return nil, err
	}
	p.keys = keyring.New(keyring.Needs{Client: m.api.client, Log: m.Log, Now: time.Now})
	p.engine, err = apply.New(apply.Needs{
		Dir: m.Dir, Config: m.reach(), Secrets: p.keys, AuditLog: m.AuditLog, Observes: m.observes(), Log: m.Log, Now: time.Now,
		Fetch: func(ctx context.Context, repository, digest string, size int64) ([]byte, error) {
			store, err := content.NewStore("http://hub", p.hub.Content())
			if err != nil {
				return nil, err
			}
			return store.Pull(ctx, repository, digest, size)
		},
		Vault:  p.keyring,
		Verify: func(a *wire.Assignment) error { return seal.Verify(a, p.keyring.Roots()) },
	})
	if err != nil {
		return nil, fmt.Errorf("opening the desired state in %s: %w", m.Dir, err)
	}
	if p.properties, err = about.New(about.Needs{Config: m.reach(), Cluster: m.boot.Cluster, Observes: m.observes(), Log: m.Log}); err != nil {
		return nil, err
	}
	p.expiry = expiry.New(expiry.Needs{Config: m.Config, Log: m.Log, Tell: func(f expiry.Found) { p.properties.Ends(f.Until, f.Of) }})
	if err := m.openMetrics(p); err != nil { // what should be here matters more
		m.Log.Error("nothing is measured until the agent starts again", "error", err)
	}
	p.keys.Changed(p.engine.Unlocked)
	p.keys.Changed(func() { p.properties.Encrypt(p.keys.Recipients()) })
	p.upgrader, err = m.upgrader(p.keyring)
	return p, err
}

// openMetrics opens what the agent measured, and makes what measures.
func (m *membership) openMetrics(p *parts) (err error) {
	dir := filepath.Join(m.Dir, metricsDir)
	if p.measured, err = queue.Open(dir, queue.DefaultSize, m.Log); err != nil {
		return err
	}
	p.scraper, err = scrape.New(scrape.Needs{Config: m.Config, Dir: dir, Put: p.measured.Put, Every: m.measureEvery, Now: time.Now, Log: m.Log})
	return err
}

// client makes what keeps the agent in session; rest ends the repairs, and returns when they have ended.
func (m *membership) client(ctx context.Context, p *parts, rest func()) (*session.Client, error) {
	var measure func(profile string)
	if p.scraper != nil {
		measure = p.scraper.Tell
	}
	return session.NewClient(session.ClientConfig{
		Bootstrap: m.boot, Keyring: p.keyring, Kube: withHistory(m.people(), p.engine.History), Log: m.Log,
		Reread: func() (v1alpha1.Bootstrap, error) { return m.bootstrap(ctx, m.api) },
		Agent: m.upgradable(p.upgrader, session.AgentConfig{
			Version: version.Version, Packages: p.engine, Properties: p.properties, Fence: openFence(m.Dir, m.boot, m.Log), CheckAPI: m.api.check,
			LetGo: p.letGo, Log: m.Log, Measure: measure, Stand: m.stand,
			Opened: func(welcome *wire.Welcome) { p.properties.Belongs(welcome.GetClusterSet()) },
			Detach: m.letGo(p.engine, p.properties, rest),
		}),
	})
}

// bootstrap reads where the hub is, and who the agent is there: one that is given no name has one of its own.
func (o Options) bootstrap(ctx context.Context, api *memberAPI) (v1alpha1.Bootstrap, error) {
	boot, err := readBootstrap(o.Bootstrap)
	if err != nil || boot.Cluster != "" {
		return boot, err
	}
	boot.Cluster, err = api.selfName(ctx, boot, o.Log)
	return boot, err
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
