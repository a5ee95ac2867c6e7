package agent

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/upgrade/self"
)

// proxy is an HTTP proxy that counts who connects through it, and whose connections are still open.
type proxy struct {
	*httptest.Server
	passed, open atomic.Int32
}

func newProxy(t *testing.T) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		far, err := net.Dial("tcp", r.Host)
		if err != nil || r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer far.Close()
		w.WriteHeader(http.StatusOK)
		near, sent, err := http.NewResponseController(w).Hijack() // sent may have what came after the answer already
		if err != nil {
			return
		}
		defer near.Close()
		p.passed.Add(1)
		p.open.Add(1)
		defer p.open.Add(-1)
		go func() {
			io.Copy(far, sent)
			far.Close()
		}()
		io.Copy(near, far)
	}))
	t.Cleanup(p.Close)
	return p
}

// An agent that was joined with a proxy rehearses, and fetches what it is to become, through it.
func TestAnUpgradeThroughAProxy(t *testing.T) {
	f, way := newFleet(t), newProxy(t)
	f.join()
	f.boot.Proxy = way.URL
	f.bootstrap(f.boot)
	f.start()
	f.ready()
	f.kill()
	o := Options{Dir: f.dir, Bootstrap: filepath.Join(f.dir, "bootstrap.json"), Config: f.api, Args: []string{"--dir=" + f.dir}, Log: f.log()}

	before := way.passed.Load()
	f.must(Rehearse(t.Context(), o))
	if got := way.passed.Load() - before; got != 1 {
		t.Errorf("a rehearsal came %d times through the proxy, want once", got)
	}

	keyring, err := identity.NewKeyring(identity.KeyringConfig{Home: identity.Folder(filepath.Join(f.dir, identityDir)), BootstrapCA: []byte(f.boot.CA), Log: f.log()})
	f.must(err)
	upgrader, err := (&membership{Options: o, boot: f.boot}).upgrader(keyring)
	f.must(err)
	before = way.passed.Load()
	address, door := upgrader.Host.(self.Process).Door()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/v2/", nil)
	f.must(err)
	answer, err := door.RoundTrip(request)
	f.must(err)
	_, err = io.Copy(io.Discard, answer.Body)
	f.must(err)
	f.must(answer.Body.Close())
	if got := way.passed.Load() - before; got != 1 {
		t.Errorf("the program came %d times through the proxy, want once", got)
	}
	f.eventually("no connection is left", func() error {
		if n := way.open.Load(); n != 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
}
