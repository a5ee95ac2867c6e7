package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/kube/pidlock"
)

// stopGrace is how long a hub may take to end in order, and killGrace how long the kernel may take to end it.
const (
	stopGrace = 20 * time.Second
	killGrace = 10 * time.Second
)

// lock makes the calling process the hub of a data folder, until it closes the lock or ends.
func lock(home string) (io.Closer, error) {
	if err := os.MkdirAll(Dir(home), 0o700); err != nil {
		return nil, fmt.Errorf("making the hub's folder: %w", err)
	}
	held, err := pidlock.Hold(lockPath(home))
	if other, ok := errors.AsType[*pidlock.HeldError](err); ok {
		return nil, fmt.Errorf("another hub (process %d) runs in %s: `umbel down` ends it, --home names another data folder", other.PID, home)
	}
	return held, err
}

func lockPath(home string) string { return filepath.Join(Dir(home), "lock") }

// Running returns the process id of the hub of a data folder, or 0 when none runs. It is in nobody's way.
func Running(home string) (int, error) { return pidlock.PID(lockPath(home)) }

// Launch starts a hub in the background, with args after `umbel hub`. It does not wait until the hub is ready.
func Launch(home, umbel string, args ...string) error {
	if err := os.MkdirAll(filepath.Dir(LogFile(home)), 0o700); err != nil {
		return fmt.Errorf("making the folder of the hub's log: %w", err)
	}
	log, err := os.OpenFile(LogFile(home), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the hub's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(umbel, append([]string{"hub", "--home", home}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the hub: %w", err)
	}
	return cmd.Process.Release()
}

// LastWords is what the hub of a data folder said of why it ended; empty when it did not come to say it.
func LastWords(home string) string {
	log, err := os.Open(LogFile(home))
	if err != nil {
		return ""
	}
	defer log.Close()
	const most = 4096
	size, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(io.NewSectionReader(log, max(0, size-most), most))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	words, said := strings.CutPrefix(lines[len(lines)-1], "umbel: ")
	if !said {
		return ""
	}
	return words
}

// Stop ends the hub of a data folder, in order if it can, and waits until it has ended. It is no error when none runs.
func Stop(ctx context.Context, home string) error {
	grace, cancel := context.WithTimeout(ctx, stopGrace)
	defer cancel()
	err := pidlock.End(grace, lockPath(home), unix.SIGTERM)
	if err == nil || ctx.Err() != nil || grace.Err() == nil {
		return err
	}
	kill, cancel := context.WithTimeout(ctx, killGrace)
	defer cancel()
	return pidlock.End(kill, lockPath(home), unix.SIGKILL)
}
