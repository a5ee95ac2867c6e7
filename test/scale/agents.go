package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/api/v1alpha1"
)

// perWorker is how many agents one process runs: each has three files open, and a process may have 20,000 on many systems.
const perWorker = 4000

// agents are the members, in worker processes of this program, and what is heard of them.
type agents struct {
	dir     string
	workers []*worker

	mu      sync.Mutex
	session []time.Time    // by agent: since when it is in session, zero when it is not
	said    map[string]int // warnings of agents, and how often
	watched arrival
}

// arrival notes when a ConfigMap comes to be what is waited for.
type arrival struct {
	news  // what is waited for
	began time.Time
	times []time.Duration
}

// worker is the process that runs some of the agents (worker.go). A line to it starts an agent; what happens comes back.
type worker struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	reading sync.WaitGroup
}

func newAgents(dir string, n int) (*agents, error) {
	a := &agents{dir: dir, session: make([]time.Time, n), said: map[string]int{}}
	for range (n + perWorker - 1) / perWorker {
		w, err := a.newWorker()
		if err != nil {
			return nil, errors.Join(err, a.stop())
		}
		a.workers = append(a.workers, w)
	}
	return a, nil
}

func (a *agents) newWorker() (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-worker", a.dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // an interrupt of ours ends it by way of its orders
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	happened, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &worker{cmd: cmd, orders: orders}
	w.reading.Go(func() {
		lines := bufio.NewScanner(happened)
		for lines.Scan() {
			var n news
			if err := json.Unmarshal(lines.Bytes(), &n); err == nil {
				a.hear(n)
			}
		}
	})
	return w, nil
}

// stop ends the workers and their agents.
func (a *agents) stop() error {
	var errs []error
	for _, w := range a.workers {
		_ = w.orders.Close() // which it ends by
	}
	for _, w := range a.workers {
		late := time.AfterFunc(time.Minute, func() { _ = w.cmd.Process.Kill() })
		w.reading.Wait()
		errs = append(errs, w.cmd.Wait())
		late.Stop()
	}
	return errors.Join(errs...)
}

// processes are the ids of the workers.
func (a *agents) processes() []int {
	var pids []int
	for _, w := range a.workers {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

func clusterName(i int) v1alpha1.ClusterName {
	return v1alpha1.ClusterName(fmt.Sprintf("member-%05d", i))
}

// agentDir is the folder of an agent, and in it bootstrap.json is what `umbel join` leaves with it.
func agentDir(dir string, i int) string { return filepath.Join(dir, string(clusterName(i))) }

func (a *agents) install(i int, boot v1alpha1.Bootstrap) error {
	raw, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(agentDir(a.dir, i), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(agentDir(a.dir, i), "bootstrap.json"), raw, 0o600)
}

// start starts every agent, a few at a time as they come into session.
func (a *agents) start(ctx context.Context) error {
	const joining = 64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(joining)
	for i := range a.session {
		if _, err := fmt.Fprintln(a.workers[i%len(a.workers)].orders, i); err != nil {
			return fmt.Errorf("starting agent %d: %w", i, err)
		}
		group.Go(func() error { return a.awaitSession(ctx, i) })
		if ctx.Err() != nil {
			break
		}
	}
	return group.Wait()
}

func (a *agents) awaitSession(ctx context.Context, i int) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(2 * time.Minute)
	for !a.inSession(i) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-late:
			return fmt.Errorf("agent %d is not in session after two minutes", i)
		case <-tick.C:
		}
	}
	return nil
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
	a.watched = arrival{news: news{ConfigMap: name, Value: value}, began: time.Now()}
}

// arrived returns when it came, in the order of coming.
func (a *agents) arrived() []time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.watched.times)
}

// hear takes in what a worker says.
func (a *agents) hear(n news) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case n.ConfigMap != "":
		if n.ConfigMap == a.watched.ConfigMap && n.Value == a.watched.Value {
			a.watched.times = append(a.watched.times, n.At.Sub(a.watched.began))
		}
	case n.Session == begun:
		a.session[n.Agent] = n.At
	case n.Session == ended:
		a.session[n.Agent] = time.Time{}
	}
	if n.Warning != "" && (len(a.said) < 1000 || a.said[n.Warning] > 0) {
		a.said[n.Warning]++
	}
}
