package self

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"umbel.dev/umbel/internal/kube/pidlock"
)

const (
	// guarded is in the environment of an agent that a guard runs.
	guarded = "UMBEL_AGENT_GUARDED"
	// handOver is the exit code of a guarded agent that hands over to another program.
	handOver = 75
	// stopGrace is how long an agent has to end in order.
	stopGrace = 5 * time.Second
)

// Launcher starts an agent that runs as a process: the program that was started is the agent, becomes another one, or guards
// another one, as the record says.
type Launcher struct {
	// Dir is the agent's folder, Args the arguments with the program in front, Build the program that runs.
	Dir   string
	Args  []string
	Build string
	Now   func() time.Time
	Log   *slog.Logger
}

// Run calls agent when this program is the agent, and returns what it returns. Otherwise it does not return before ctx ends,
// unless nothing can be started.
func (l Launcher) Run(ctx context.Context, agent func(context.Context) error) error {
	if os.Getenv(guarded) != "" {
		return l.agent(ctx, agent) // ErrHandOver is for the guard: see ExitCode
	}
	for ctx.Err() == nil {
		record, err := readRecord(l.Dir)
		if err != nil {
			return err
		}
		course, build := Begin(record, l.Build)
		program := Process{Dir: l.Dir}.program(build)
		switch course {
		case Become:
			if err := l.exec(program); err != nil {
				l.Log.Error("the program that the agent was upgraded to cannot be started: this one takes its place", "program", program, "error", err)
				return l.agent(ctx, agent)
			}
		case Guard:
			if err := l.guard(ctx, record, program); err != nil {
				return err
			}
		default:
			if err := l.agent(ctx, agent); !errors.Is(err, ErrHandOver) {
				return err
			}
		}
	}
	return nil
}

// ExitCode is the code with which a program ends for err.
func ExitCode(err error) int {
	if errors.Is(err, ErrHandOver) {
		return handOver
	}
	return 1
}

// agent runs the agent with the folder to itself: the kernel lets no other one in before this process has ended.
func (l Launcher) agent(ctx context.Context, agent func(context.Context) error) error {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := pidlock.Hold(filepath.Join(l.Dir, "lock"))
		if err == nil {
			defer held.Close() //nolint:errcheck // it ends with the process at the latest
			return agent(ctx)
		}
		if _, other := errors.AsType[*pidlock.HeldError](err); !other {
			return fmt.Errorf("taking the agent's folder %s: %w", l.Dir, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// exec makes this process another program. It returns only when that fails.
func (l Launcher) exec(program string) error {
	if err := os.Unsetenv(guarded); err != nil {
		return err
	}
	return syscall.Exec(program, l.Args, os.Environ())
}

// guard runs the program and watches it until it ends, and puts the one before back in its place when it does not prove
// itself in time. The record says what comes next.
func (l Launcher) guard(ctx context.Context, record Record, program string) error {
	said := &tail{}
	err := l.watch(ctx, record, program, said)
	if ctx.Err() != nil {
		return nil
	}
	now, readErr := readRecord(l.Dir)
	if readErr != nil {
		return readErr
	}
	var exit *exec.ExitError
	another := now.Build != record.Build || now.Attempt != record.Attempt
	switch {
	case another, now.Phase == Done && errors.As(err, &exit) && exit.ExitCode() == handOver, now.Phase == Failed, now.Phase == RolledBack:
		return l.startOver()
	case now.Phase == Done:
		return fmt.Errorf("the agent ended, and whoever starts agents starts it again: %w", err)
	}
	now.Phase, now.Message = RolledBack, fmt.Sprintf("%v; its last words: %s", err, said)
	l.Log.Error("the new agent did not prove itself: the one before takes its place again", "build", record.Build, "why", now.Message)
	return writeRecord(l.Dir, now)
}

// startOver begins again with the program that was started first.
func (l Launcher) startOver() error {
	first, err := exec.LookPath(l.Args[0])
	if err == nil {
		err = l.exec(first)
	}
	return fmt.Errorf("starting the agent anew: %w", err)
}

// errLate: the new agent did not prove itself in time.
var errLate = errors.New("the new agent was not in session in time")

// watch runs the program until it ends, ctx does, or its time is up.
func (l Launcher) watch(ctx context.Context, record Record, program string, said *tail) error {
	runtime.LockOSThread() // the signal of the parent's death is one of the thread's
	defer runtime.UnlockOSThread()
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	cmd := exec.CommandContext(life, program, l.Args[1:]...)
	cmd.Env = append(os.Environ(), guarded+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, io.MultiWriter(os.Stderr, said)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopGrace
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	l.Log.Info("the new agent is started, and has to prove itself", "build", record.Build, "deadline", record.Deadline)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("the new agent could not be started: %w", err)
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		l.await(life, end, record.Deadline)
	}()
	err := cmd.Wait()
	end(nil)
	<-watching
	if cause := context.Cause(life); errors.Is(cause, errLate) {
		return errLate
	}
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("the new agent ended: %w", err)
}

// await ends a life when its time is up and the record does not say Done. A record that cannot be read says nothing: what it
// said last holds.
func (l Launcher) await(life context.Context, end context.CancelCauseFunc, deadline time.Time) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-life.Done():
			return
		case <-tick.C:
		}
		if record, err := readRecord(l.Dir); err == nil {
			if !record.underWay() {
				return
			}
			deadline = record.Deadline
		}
		if l.Now().After(deadline) {
			end(errLate)
			return
		}
	}
}
