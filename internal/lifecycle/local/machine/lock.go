package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// ErrRunning says that a machine runs already.
var ErrRunning = errors.New("machine is running already")

// hold takes the lock that says "this machine runs" for the calling process, for as long as it lives. The returned
// file must stay open, and no other file of that name may be opened: closing any of them would release the lock.
func hold(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(file.Fd(), unix.F_SETLK, &lock); err != nil {
		file.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, ErrRunning
		}
		return nil, fmt.Errorf("locking %s: %w", file.Name(), err)
	}
	return file, nil
}

// PID returns the process id of the init of the machine in dir, and zero when it does not run.
func PID(dir string) (int, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking for a running machine: %w", err)
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("looking for a running machine: testing %s: %w", file.Name(), err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return int(lock.Pid), nil
}

// End sends the init of the machine in dir a signal and returns when it is gone, and with it, in a machine with
// namespaces, all that ran there. SIGTERM ends the processes in order, SIGKILL is a power cut. It is idempotent.
func End(ctx context.Context, dir string, signal unix.Signal) error {
	pid, err := PID(dir)
	if err != nil || pid == 0 {
		return err
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d of machine %s: %w", pid, dir, err)
	}
	defer unix.Close(handle)
	if now, err := PID(dir); err != nil || now != pid { // it ended meanwhile; the handle may be another's
		return err
	}
	if err := unix.PidfdSendSignal(handle, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d of machine %s: %w", pid, dir, err)
	}
	for ctx.Err() == nil {
		const wake = 100 * time.Millisecond // only to look at ctx: the end of the process ends Poll at once
		events := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		n, err := unix.Poll(events, int(wake.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the end of process %d: %w", pid, err)
		}
		if n > 0 {
			return nil
		}
	}
	return fmt.Errorf("waiting for the end of process %d of machine %s: %w", pid, dir, ctx.Err())
}
