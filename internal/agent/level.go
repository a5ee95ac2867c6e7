package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// levelName is the file of the agent's folder that has the level that the hub said last. It outlives a membership's parts: they are
// made for one level, and made anew for another.
const levelName = "level"

// stance is how far the agent goes, until the hub says otherwise. While it is not known, no part begins that writes.
type stance struct {
	level v1alpha1.Level
	known chan struct{} // closed when it is
}

func (s *stance) isKnown() bool {
	select {
	case <-s.known:
		return true
	default:
		return false
	}
}

// await runs something once it is known how far the agent goes.
func (s *stance) await(ctx context.Context, run func(context.Context) error) error {
	select {
	case <-s.known:
		return run(ctx)
	case <-ctx.Done():
		return nil
	}
}

// stance reads how far the agent goes. One that has heard nothing of that, and holds nothing, waits for its hub's first word; one that holds
// something was there before there were levels. Where it cannot be read, nothing is written.
func (o Options) stance() *stance {
	s := &stance{level: v1alpha1.LevelObserved, known: make(chan struct{})}
	raw, err := os.ReadFile(filepath.Join(o.Dir, levelName))
	if errors.Is(err, fs.ErrNotExist) {
		s.level = v1alpha1.LevelAttached
		if held, _ := os.ReadDir(filepath.Join(o.Dir, packagesDir)); len(held) == 0 { // what cannot be read stands still in any case
			return s
		}
	} else if err != nil {
		o.Log.Error("how far the agent is to go cannot be read: it writes nothing until the hub says so", "error", err)
	} else if string(bytes.TrimSpace(raw)) == string(v1alpha1.LevelAttached) {
		s.level = v1alpha1.LevelAttached
	}
	close(s.known)
	return s
}

// stand keeps a level that the hub says, and has the agent begin anew when it is another one. A hub that says none does not know of them:
// to it every member is attached, but where another one has said otherwise.
func (m *membership) stand(said string) error {
	known := m.stands.isKnown()
	level := v1alpha1.LevelObserved // what is not known
	switch {
	case said == "" && !known:
		close(m.stands.known)
		return nil
	case said == "":
		return nil
	case said == string(v1alpha1.LevelAttached):
		level = v1alpha1.LevelAttached
	}
	if level == m.stands.level && known {
		return nil
	}
	if err := renameio.WriteFile(filepath.Join(m.Dir, levelName), []byte(level), 0o600); err != nil {
		return fmt.Errorf("keeping that the cluster is %s: %w", level, err)
	}
	if level == m.stands.level {
		close(m.stands.known)
		return nil
	}
	m.Log.Info("the hub has set another level for the cluster: the agent begins again", "before", m.stands.level, "now", level)
	return session.ErrOtherLevel
}

// observes says whether nothing is written on the member.
func (m *membership) observes() bool { return m.stands.level == v1alpha1.LevelObserved }

// reach is the member's API server as what is delivered, and what is said of the cluster, reach it: by a way on which nothing can be written
// while the cluster is observed.
func (m *membership) reach() *rest.Config {
	if !m.observes() {
		return m.Config
	}
	config := rest.CopyConfig(m.Config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return reading{next} })
	return config
}

// reading lets nothing through that is not to read.
type reading struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (r reading) RoundTrip(request *http.Request) (*http.Response, error) {
	if !kubeproxy.Reads(request.Method, request.URL.EscapedPath()) {
		if request.Body != nil {
			request.Body.Close()
		}
		return nil, fmt.Errorf("%s %s: the cluster is observed, and nothing is written there", request.Method, request.URL.Path)
	}
	return r.next.RoundTrip(request)
}

// WrappedRoundTripper lets client-go see what is below.
func (r reading) WrappedRoundTripper() http.RoundTripper { return r.next }

// people is what people reach of the member's API server: all that they may, or, while the cluster is observed, what they may read.
func (m *membership) people() http.Handler {
	if !m.observes() {
		return m.proxy
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !kubeproxy.Reads(r.Method, r.URL.EscapedPath()) {
			kubeproxy.WriteError(w, http.StatusForbidden, kubeproxy.Observed(m.boot.Cluster))
			return
		}
		m.proxy.ServeHTTP(w, r)
	})
}
