// Package pidlock answers: which process does this, and is it still there?
//
// A process that may run once only (the hub of a data folder, the init of a local machine) holds a lock on a file. The
// kernel keeps the lock for as long as the process lives and says whose it is: nothing is left behind by one that was
// killed, and no process id that is written down can be another's by now. Whoever asks takes nothing, so that asking is
// in nobody's way.
//
// The lock is one of fcntl(2), which a process loses when it closes any file of that name: in the process that holds it
// nobody else opens the file.
package pidlock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// HeldError says that another process holds the lock.
type HeldError struct {
	// PID is that process; 0 when it has just ended.
	PID int
}

func (e *HeldError) Error() string { return fmt.Sprintf("process %d holds the lock", e.PID) }

// Hold takes the lock for the calling process, until it closes the lock or ends. The folder of the file has to exist.
// The error is a *HeldError when another process has it.
func Hold(path string) (io.Closer, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(file.Fd(), unix.F_SETLK, &lock)
	if err == nil {
		return file, nil
	}
	defer file.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		pid, _, err := holder(file)
		if err != nil {
			return nil, err
		}
		return nil, &HeldError{PID: pid}
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

// PID returns the process that holds the lock, and 0 when none does. The process that holds it must not ask.
func PID(path string) (int, error) {
	pid, _, err := look(path)
	return pid, err
}

// Held says whether a process holds the lock, also where that is one of another PID namespace, which has no id here. The process that
// holds it must not ask.
func Held(path string) (bool, error) {
	_, held, err := look(path)
	return held, err
}

func look(path string) (pid int, held bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking for the process that holds a lock: %w", err)
	}
	defer file.Close()
	return holder(file)
}

func holder(file *os.File) (pid int, held bool, err error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, false, fmt.Errorf("looking for the process that holds %s: %w", file.Name(), err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, false, nil
	}
	return int(lock.Pid), true, nil
}

// End sends the process that holds the lock a signal and returns when it is gone. It is idempotent; that there is none
// is no error.
func End(ctx context.Context, path string, signal unix.Signal) error {
	pid, err := PID(path)
	if err != nil || pid == 0 {
		return err
	}
	handle, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d, which holds %s: %w", pid, path, err)
	}
	defer unix.Close(handle)
	if now, err := PID(path); err != nil || now != pid { // it ended meanwhile; the handle may be another's
		return err
	}
	if err := unix.PidfdSendSignal(handle, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d, which holds %s: %w", pid, path, err)
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
	return fmt.Errorf("waiting for the end of process %d, which holds %s: %w", pid, path, ctx.Err())
}
