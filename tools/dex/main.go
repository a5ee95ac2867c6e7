// Command umbel-dex is the OpenID Connect provider that tests sign people in with: Dex, with its own pages, keys and
// tokens, in front of a small directory of people. It is a module of its own, because Dex brings many others along.
//
//	umbel-dex --issuer https://127.0.0.1:5556/dex --cert FILE --key FILE --people FILE --control 127.0.0.1:5557
//
// The directory is a JSON file of people with their passwords and groups, read at each sign-in and at each refresh: who
// leaves the file has lost their session. What administrators of a provider do is done at the control address:
//
//	POST /rotate        sign with a new key, and forget the old ones
//	POST /revoke        end every session: no refresh token is valid any more
//	POST /clock?ahead=D tokens are issued as if it were D later (or earlier)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/prometheus/client_golang/prometheus"
)

// The programs that sign people in are public clients, as those on people's computers are. One is Umbel's.
const (
	clientID      = "umbel"
	otherClientID = "another-program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "umbel-dex:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	issuer, cert, key, people, control string
	redirect                           string
	tokenLife                          time.Duration
}

func run(ctx context.Context) error {
	var s settings
	flag.StringVar(&s.issuer, "issuer", "", "`URL` of the provider; it listens on its host and port")
	flag.StringVar(&s.cert, "cert", "", "`FILE` with the certificate")
	flag.StringVar(&s.key, "key", "", "`FILE` with its key")
	flag.StringVar(&s.people, "people", "", "`FILE` with the directory of people, JSON")
	flag.StringVar(&s.control, "control", "", "`ADDRESS` for administrators")
	flag.StringVar(&s.redirect, "redirect", "", "`URL` that people are sent back to, and to no other; empty for any port of localhost")
	flag.DurationVar(&s.tokenLife, "token-life", time.Hour, "`DURATION` that an ID token is valid")
	flag.Parse()
	issuer, err := url.Parse(s.issuer)
	if err != nil {
		return err
	}
	p := &provider{store: memory.New(slog.New(slog.DiscardHandler))}
	handler, err := p.dex(ctx, s)
	if err != nil {
		return err
	}
	door := &http.Server{Addr: issuer.Host, Handler: uncached(handler)}
	control := &http.Server{Addr: s.control, Handler: p.control()}
	ended := make(chan error, 2)
	go func() { ended <- door.ListenAndServeTLS(s.cert, s.key) }()
	go func() { ended <- control.ListenAndServe() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
	}
	return errors.Join(err, door.Close(), control.Close())
}

// provider is Dex and what its administrators can reach.
type provider struct {
	store storage.Storage
	// ahead is how far the provider's clock is before the computer's, in nanoseconds.
	ahead atomic.Int64
}

func (p *provider) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

func (p *provider) dex(ctx context.Context, s settings) (http.Handler, error) {
	server.ConnectorsConfig["directory"] = func() server.ConnectorConfig { return &directory{File: s.people} }
	umbel := storage.Client{ID: clientID, Name: "Umbel", Public: true}
	if s.redirect != "" {
		umbel.RedirectURIs = []string{s.redirect}
	}
	store := storage.WithStaticClients(keysNow{p.store}, []storage.Client{
		umbel, {ID: otherClientID, Name: "Another program", Public: true},
	})
	store = storage.WithStaticConnectors(store, []storage.Connector{{ID: "directory", Type: "directory", Name: "Directory"}})
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	// Its second argument turns rotation off, whatever it is called: a refresh token serves once here.
	refresh, err := server.NewRefreshTokenPolicy(log, false, "", "", "0s")
	if err != nil {
		return nil, err
	}
	return server.NewServer(ctx, server.Config{
		Issuer: s.issuer, Storage: store, SkipApprovalScreen: true, IDTokensValidFor: s.tokenLife, RefreshTokenPolicy: refresh,
		Now: p.now, Logger: log, PrometheusRegistry: prometheus.NewRegistry(),
	})
}
