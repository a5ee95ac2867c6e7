package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// defaultGrace is how long a process has between SIGTERM and SIGKILL.
const defaultGrace = 10 * time.Second

// Process is one child to keep running.
type Process struct {
	// Name names it in logs and in After; its output goes to NAME.log.
	Name string
	Path string
	Args []string
	// Env are KEY=VALUE pairs, added to PATH, HOME and TMPDIR of the supervisor.
	Env []string
	// After names processes, earlier in the list, that must have been ready before this one starts for the first time.
	After []string
	// Before is called before each start. While it fails the process is not started, and that is tried again as if it had ended.
	Before func() error
	// Ready reports nil once the process serves. It is called every 25 ms, each time for at most a second, from a
	// process's start until it says so. Nil means: ready as soon as it runs.
	Ready func(context.Context) error
	// Grace is the time between SIGTERM and SIGKILL; 10 s when zero.
	Grace time.Duration
}

// Status is what is known about one process now.
type Status struct {
	Name string
	// PID is zero while the process is down.
	PID   int
	Ready bool
	// Restarts counts the starts after the first.
	Restarts int
	// LastExit says how it ended the last time; empty when it never did.
	LastExit string
}

// Config is what a Supervisor needs.
type Config struct {
	Processes []Process
	// LogDir receives NAME.log of every process. It is made when missing.
	LogDir string
	Log    *slog.Logger
}

// Supervisor keeps processes running. Make it with New, then call Run once.
type Supervisor struct {
	config  Config
	runners []*runner

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change of a status
}

// New returns a Supervisor of config.Processes, or an error that names the process that cannot be run.
func New(config Config) (*Supervisor, error) {
	if err := validate(config.Processes); err != nil {
		return nil, err
	}
	s := &Supervisor{config: config, changed: make(chan struct{})}
	for _, p := range config.Processes {
		if p.Grace == 0 {
			p.Grace = defaultGrace
		}
		s.runners = append(s.runners, &runner{
			process: p,
			logPath: filepath.Join(config.LogDir, p.Name+".log"),
			log:     config.Log.With("process", p.Name),
			owner:   s,
			status:  Status{Name: p.Name},
		})
	}
	return s, nil
}

// Run starts all processes and keeps them running until ctx ends. It then stops them, last one first, and returns
// when none is left. It returns an error only if it could not begin.
func (s *Supervisor) Run(ctx context.Context) error {
	if err := os.MkdirAll(s.config.LogDir, 0o755); err != nil {
		return fmt.Errorf("making the log folder: %w", err)
	}
	running := context.WithoutCancel(ctx) // each is stopped in its turn, below
	stops := make([]func(), len(s.runners))
	for i, r := range s.runners {
		stops[i] = start(running, r.run)
	}
	stopRotation := start(running, s.rotateLogs)
	<-ctx.Done()
	stopRotation()
	for _, stop := range slices.Backward(stops) {
		stop()
	}
	return nil
}

// start runs f until the function that it returns is called, which waits for f to return.
func start(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// Status returns the status of every process, in the order of the list.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	statuses := make([]Status, len(s.runners))
	for i, r := range s.runners {
		statuses[i] = r.status
	}
	return statuses
}

// WaitReady returns when the named processes, or all if none is named, are ready. If ctx ends before, the error
// says which one is not, how it ended last, and where its log is.
func (s *Supervisor) WaitReady(ctx context.Context, names ...string) error {
	for {
		s.mu.Lock()
		changed := s.changed
		missing := slices.IndexFunc(s.runners, func(r *runner) bool {
			return !r.status.Ready && (len(names) == 0 || slices.Contains(names, r.process.Name))
		})
		var status Status
		if missing >= 0 {
			status = s.runners[missing].status
		}
		s.mu.Unlock()
		if missing < 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return s.runners[missing].notReady(ctx.Err(), status)
		}
	}
}

// update changes the status of r and wakes who waits for it.
func (s *Supervisor) update(r *runner, change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&r.status)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (r *runner) notReady(err error, status Status) error {
	if status.LastExit == "" {
		return fmt.Errorf("waiting for %s to be ready: %w; see %s", status.Name, err, r.logPath)
	}
	return fmt.Errorf("waiting for %s to be ready: %w; it ended %d times, the last time with %q; see %s",
		status.Name, err, status.Restarts, status.LastExit, r.logPath)
}

func (s *Supervisor) rotateLogs(ctx context.Context) {
	ticker := time.NewTicker(rotateInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, r := range s.runners {
			if err := rotate(r.logPath, maxLogSize); err != nil && !errors.Is(err, os.ErrNotExist) {
				r.log.Warn("cannot rotate a log", "error", err)
			}
		}
	}
}
