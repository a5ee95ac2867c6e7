package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"syscall"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a hub may take to end in order.
const stopGrace = 20 * time.Second

// Lock makes the calling process the hub of a data folder, until it closes the file or ends. The kernel holds the lock,
// so it is never left behind; the process id in the file is for Running.
func Lock(home string) (io.Closer, error) {
	if err := os.MkdirAll(Dir(home), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(lockPath(home), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := os.ReadFile(lockPath(home))
		_ = file.Close() // nothing was written
		return nil, fmt.Errorf("another hub (process %s) runs in %s", strings.TrimSpace(string(pid)), home)
	}
	if err := file.Truncate(0); err != nil {
		return nil, err
	}
	_, err = file.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	return file, err
}

func lockPath(home string) string { return filepath.Join(Dir(home), "lock") }

// Running returns the process id of the hub of a data folder, or 0 when none runs.
func Running(home string) (int, error) {
	file, err := os.Open(lockPath(home))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_SH|unix.LOCK_NB); err == nil {
		return 0, nil // nobody holds it; closing lets go of it again
	}
	raw, err := os.ReadFile(lockPath(home))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return 0, nil // it is just starting
	}
	return pid, nil
}

// Launch starts a hub in the background, with args after `umbel hub`. It does not wait until the hub is ready.
func Launch(home, umbel string, args ...string) error {
	logs := filepath.Join(Dir(home), "logs")
	if err := os.MkdirAll(logs, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(logs, "hub.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
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

// Stop ends the hub of a data folder and waits until it has ended. It is no error when none runs.
func Stop(ctx context.Context, home string) error {
	ctx, cancel := context.WithTimeout(ctx, stopGrace+10*time.Second)
	defer cancel()
	deadline := time.Now().Add(stopGrace)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for signal := unix.SIGTERM; ; {
		pid, err := Running(home)
		if err != nil || pid == 0 {
			return err
		}
		if time.Now().After(deadline) {
			signal = unix.SIGKILL
		}
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("ending the hub (process %d): %w", pid, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the hub (process %d) does not end: %w", pid, ctx.Err())
		}
	}
}
