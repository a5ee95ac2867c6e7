package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/test/scale/fakekube"
)

// agents are the members: each the real agent on a Kubernetes API in memory.
type agents struct {
	dir     string
	running sync.WaitGroup

	mu      sync.Mutex
	session []time.Time    // by agent: since when it is in session, zero when it is not
	said    map[string]int // warnings of agents, and how often
	watched *arrival       // nil when nothing is waited for
}

// arrival notes when a ConfigMap comes to be what is waited for, or to be gone.
type arrival struct {
	name, value string // value empty: gone
	began       time.Time
	times       []time.Duration
}

func newAgents(dir string, n int) *agents {
	return &agents{dir: dir, session: make([]time.Time, n), said: map[string]int{}}
}

func clusterName(i int) v1alpha1.ClusterName {
	return v1alpha1.ClusterName(fmt.Sprintf("member-%05d", i))
}

// bootstrapFile is what `umbel join` leaves with an agent.
func (a *agents) bootstrapFile(i int) string {
	return filepath.Join(a.dir, string(clusterName(i)), "bootstrap.json")
}

func (a *agents) install(i int, boot v1alpha1.Bootstrap) error {
	raw, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(a.bootstrapFile(i)), 0o700); err != nil {
		return err
	}
	return os.WriteFile(a.bootstrapFile(i), raw, 0o600)
}

// start starts every agent, a few at a time as they come into session. They end with life.
func (a *agents) start(ctx, life context.Context) error {
	const joining = 64
	var group errgroup.Group
	group.SetLimit(joining)
	for i := range a.session {
		group.Go(func() error {
			ended := a.run(life, i)
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			late := time.After(2 * time.Minute)
			for !a.inSession(i) {
				select {
				case err := <-ended:
					return fmt.Errorf("agent %d ended: %v", i, err)
				case <-ctx.Done():
					return ctx.Err()
				case <-late:
					return fmt.Errorf("agent %d is not in session after two minutes; agents say: %s", i, a.complaints())
				case <-tick.C:
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (a *agents) run(life context.Context, i int) <-chan error {
	ended := make(chan error, 1)
	server := fakekube.New(a.written)
	a.running.Go(func() {
		ended <- agent.Run(life, agent.Options{
			Dir: filepath.Dir(a.bootstrapFile(i)), Bootstrap: a.bootstrapFile(i), Config: server.Config(), Log: slog.New(listener{a, i}),
		})
	})
	return ended
}

func (a *agents) inSession(i int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.session[i].IsZero()
}

// sessions returns since when each agent is in session, if it is.
func (a *agents) sessions() []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.session)
}

// complaints are the warnings of agents, the most frequent first.
func (a *agents) complaints() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	kinds := slices.SortedFunc(maps.Keys(a.said), func(x, y string) int { return a.said[y] - a.said[x] })
	var text []string
	for _, kind := range kinds[:min(5, len(kinds))] {
		text = append(text, fmt.Sprintf("%d times %q", a.said[kind], kind))
	}
	return strings.Join(text, ", ")
}

// await begins to note when a ConfigMap comes to be value in each member, or, when that is empty, to be gone.
func (a *agents) await(name, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched = &arrival{name: name, value: value, began: time.Now(), times: make([]time.Duration, 0, len(a.session))}
}

// arrived returns when it came, in the order of coming.
func (a *agents) arrived() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.watched.times)
}

// written hears of every write to every member.
func (a *agents) written(w fakekube.Write) {
	if w.Kind != "ConfigMap" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watched == nil || a.watched.name != w.Name {
		return
	}
	value := ""
	if w.Object != nil {
		data, _ := w.Object.Object["data"].(map[string]any)
		value, _ = data["value"].(string)
	}
	if value == a.watched.value {
		a.watched.times = append(a.watched.times, time.Since(a.watched.began))
	}
}

// listener is the log of one agent. The agent tells nobody else whether it is in session.
type listener struct {
	agents *agents
	i      int
}

func (l listener) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l listener) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l listener) WithGroup(string) slog.Handler                    { return l }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	a := l.agents
	a.mu.Lock()
	defer a.mu.Unlock()
	switch r.Message {
	case "in session with the hub":
		a.session[l.i] = time.Now()
	case "not in session with the hub":
		a.session[l.i] = time.Time{}
	}
	if r.Level >= slog.LevelWarn {
		text := r.Message
		r.Attrs(func(attr slog.Attr) bool {
			if attr.Key == "error" {
				text += ": " + attr.Value.String()
			}
			return true
		})
		if len(a.said) < 1000 || a.said[text] > 0 {
			a.said[text]++
		}
	}
	return nil
}
