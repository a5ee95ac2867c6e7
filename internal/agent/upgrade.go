package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply/disk"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
	"umbel.dev/umbel/internal/upgrade/self"
	"umbel.dev/umbel/internal/version"
)

// upgrader returns what makes this agent another program; nil when nothing could.
func (m *membership) upgrader(keyring *identity.Keyring) (*self.Upgrader, error) {
	build, err := version.Running()
	if err != nil {
		return nil, fmt.Errorf("reading which program this is: %w", err)
	}
	config := self.Config{Build: build, Now: time.Now, Log: m.Log}
	switch {
	case m.isPod():
		config.Host, config.Patience = self.Pod{Client: m.api.client}, self.PodPatience
	case len(m.Args) > 0:
		proxy, err := tunnel.ProxyOf(m.boot.Proxy)
		if err != nil {
			return nil, fmt.Errorf("the bootstrap: %w; run `umbel join` again with another --proxy", err)
		}
		config.Patience = self.ProcessPatience
		config.Host = self.Process{Dir: m.Dir, Args: m.Args, Door: func() (string, http.RoundTripper) {
			trust := keyring.TLS()
			trust.GetClientCertificate = nil
			hub := tunnel.DialConfig{Address: m.boot.Address, Proxy: proxy}
			return m.boot.Address, &http.Transport{
				TLSClientConfig: trust, DisableKeepAlives: true, // nobody would close what is kept
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return hub.Connect(ctx) },
			}
		}}
	default:
		return nil, nil
	}
	return self.New(config), nil
}

// upgradable has a session tell the upgrader what it says of the agent's program, and when it is well: in session, with an API
// server that answers.
func (m *membership) upgradable(upgrader *self.Upgrader, config session.AgentConfig) session.AgentConfig {
	if upgrader == nil {
		return config
	}
	var opened atomic.Bool
	check := config.CheckAPI
	config.Upgrades = upgrader
	welcomed := config.Opened
	config.Opened = func(welcome *wire.Welcome) {
		opened.Store(true)
		if welcomed != nil {
			welcomed(welcome)
		}
	}
	config.CheckAPI = func(ctx context.Context) (string, error) {
		kubernetes, err := check(ctx)
		if err == nil && opened.Load() {
			upgrader.Prove()
		}
		return kubernetes, err
	}
	return config
}

// Rehearse finds out whether this program could be the agent: whether it can read what the agent keeps, and get into session.
// It writes nothing, and disturbs nobody.
func Rehearse(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	api, err := newMemberAPI(o.Config)
	if err != nil {
		return err
	}
	if _, err := api.check(ctx); err != nil {
		return err
	}
	boot, err := o.bootstrap(ctx, api)
	if err != nil {
		return err
	}
	if err := disk.Check(filepath.Join(o.Dir, packagesDir)); err != nil {
		return fmt.Errorf("reading what the agent holds: %w", err)
	}
	keyring, err := o.papers(ctx, api, boot.CA)
	if err != nil {
		return err
	}
	client, err := session.NewClient(session.ClientConfig{
		Bootstrap: boot, Keyring: keyring, Log: o.Log,
		Agent: session.AgentConfig{Version: version.Version, CheckAPI: api.check, Log: o.Log},
	})
	if err != nil {
		return err
	}
	return client.Rehearse(ctx)
}

// papers reads the agent's papers, and makes none.
func (o Options) papers(ctx context.Context, api *memberAPI, ca string) (*identity.Keyring, error) {
	var home identity.Home = identity.Folder(filepath.Join(o.Dir, identityDir))
	if o.isPod() {
		home = &secretHome{life: ctx, client: api.client, log: o.Log}
	}
	found, err := home.Load()
	if err != nil {
		return nil, err
	}
	if len(found.Key) == 0 {
		return nil, errors.New("the agent has no key")
	}
	return identity.NewKeyring(identity.KeyringConfig{Home: home, BootstrapCA: []byte(ca), Log: o.Log})
}

// Guard watches over an upgrade of the agent, in a pod of its own.
func Guard(ctx context.Context, o Options) error {
	api, err := newMemberAPI(o.Config)
	if err != nil {
		return err
	}
	return self.Pod{Client: api.client}.RunGuard(ctx, time.Now, o.Log)
}
