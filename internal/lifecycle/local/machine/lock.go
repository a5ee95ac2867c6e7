package machine

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/kube/pidlock"
)

// hold takes the lock that says "this machine runs" for the calling process, for as long as it lives.
func hold(dir string) (io.Closer, error) {
	lock, err := pidlock.Hold(lockPath(dir))
	if err != nil {
		return nil, fmt.Errorf("the machine in %s runs already, or cannot be locked: %w", dir, err)
	}
	return lock, nil
}

// PID returns the process id of the init of the machine in dir, and zero when it does not run.
func PID(dir string) (int, error) { return pidlock.PID(lockPath(dir)) }

// runs says whether the machine in dir runs, also to who asks from another machine, where its process has no id.
func runs(dir string) (bool, error) { return pidlock.Held(lockPath(dir)) }

// End sends the init of the machine in dir a signal and returns when it is gone, and with it, in a machine with
// namespaces, all that ran there. SIGTERM ends the processes in order, SIGKILL is a power cut. It is idempotent.
func End(ctx context.Context, dir string, signal unix.Signal) error {
	return pidlock.End(ctx, lockPath(dir), signal)
}

func lockPath(dir string) string { return filepath.Join(dir, lockFile) }
