package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	probeInterval = 25 * time.Millisecond
	probeTimeout  = time.Second
)

// runner keeps one process running. Its status belongs to its owner's lock.
type runner struct {
	process Process
	logPath string
	log     *slog.Logger
	owner   *Supervisor
	status  Status
}

// run keeps the process running until ctx ends, and returns when it is gone.
func (r *runner) run(ctx context.Context) {
	// The parent-death signal follows the thread that started the child, not the process: this one ends with run.
	runtime.LockOSThread()

	if len(r.process.After) > 0 && r.owner.WaitReady(ctx, r.process.After...) != nil {
		return
	}
	var delay time.Duration
	for {
		started := time.Now()
		err := r.live(ctx)
		if ctx.Err() != nil {
			r.owner.update(r, func(s *Status) { s.PID, s.Ready = 0, false })
			if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
				r.log.Warn("process did not stop in time, killed it", "grace", r.process.Grace)
			}
			return
		}
		exit := "exit status 0"
		if err != nil {
			exit = err.Error()
		}
		delay = nextDelay(delay, time.Since(started))
		r.owner.update(r, func(s *Status) { s.PID, s.Ready, s.LastExit = 0, false, exit })
		r.log.Warn("process ended, starting it again", "exit", exit, "after", delay)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
		r.owner.update(r, func(s *Status) { s.Restarts++ })
	}
}

// live starts the process once and waits for its end.
func (r *runner) live(ctx context.Context) error {
	if err := rotate(r.logPath, maxLogSize); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	output, err := os.OpenFile(r.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()

	if r.process.Before != nil {
		if err := r.process.Before(); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, r.process.Path, r.process.Args...)
	cmd.Env = append(inheritedEnv(), r.process.Env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = r.process.Grace
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // a ^C in the supervisor's terminal is the supervisor's to handle, in order
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r.log.Debug("process started", "pid", cmd.Process.Pid)
	r.owner.update(r, func(s *Status) { s.PID = cmd.Process.Pid })
	stopProbing := start(ctx, r.probe)
	defer stopProbing()
	return cmd.Wait()
}

// probe marks the process ready when it first says that it is.
func (r *runner) probe(ctx context.Context) {
	for r.process.Ready != nil {
		attempt, cancel := context.WithTimeout(ctx, probeTimeout)
		err := r.process.Ready(attempt)
		cancel()
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeInterval):
		}
	}
	r.owner.update(r, func(s *Status) { s.Ready = true })
}

func inheritedEnv() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}
