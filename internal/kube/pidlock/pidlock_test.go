package pidlock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/kube/pidlock"
)

// The test program is its own other process: one that holds a lock, or tries to.
const (
	holdFile = "PIDLOCK_TEST_HOLD"
	stubborn = "PIDLOCK_TEST_STUBBORN" // SIGTERM does not end it
)

func TestMain(m *testing.M) {
	path := os.Getenv(holdFile)
	if path == "" {
		os.Exit(m.Run())
	}
	if os.Getenv(stubborn) != "" {
		signal.Ignore(unix.SIGTERM)
	}
	_, err := pidlock.Hold(path)
	fmt.Println(err)
	if err == nil {
		bufio.NewReader(os.Stdin).ReadString('\n') // until it is told to go on, or killed
	}
}

// hold starts a process that takes the lock and returns what it said of that.
func hold(t *testing.T, path string, env ...string) (pid int, said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), holdFile+"="+path), env...)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(gone)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-gone
	})
	return cmd.Process.Pid, strings.TrimSpace(line)
}

func expectPID(t *testing.T, reason, path string, want int) {
	t.Helper()
	if got, err := pidlock.PID(path); got != want || err != nil {
		t.Errorf("%s: process %d and %v, want %d", reason, got, err, want)
	}
	if held, err := pidlock.Held(path); held != (want != 0) || err != nil {
		t.Errorf("%s: held %t and %v", reason, held, err)
	}
}

func TestOneProcessHoldsALock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	expectPID(t, "no file", path, 0)
	pid, said := hold(t, path)
	if said != "<nil>" {
		t.Fatal(said)
	}
	expectPID(t, "held", path, pid)
	_, err := pidlock.Hold(path)
	if held, ok := errors.AsType[*pidlock.HeldError](err); !ok || held.PID != pid {
		t.Errorf("a second one got %v, want that process %d holds it", err, pid)
	}
	expectPID(t, "still held, after others tried", path, pid)

	if err := pidlock.End(t.Context(), path, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	expectPID(t, "killed", path, 0)
	if err := pidlock.End(t.Context(), path, unix.SIGKILL); err != nil {
		t.Errorf("ending nobody: %v", err)
	}
	lock, err := pidlock.Hold(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, said := hold(t, path); said != "<nil>" {
		t.Errorf("once it was let go: %s", said)
	}
}

// Somebody who looks all the time is in nobody's way.
func TestAskingDoesNotHinder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if _, err := pidlock.PID(path); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 10 {
		pid, said := hold(t, path)
		if said != "<nil>" {
			t.Fatalf("a start failed while others asked: %s", said)
		}
		expectPID(t, "held", path, pid)
		if err := pidlock.End(t.Context(), path, unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEndTellsOfOneThatDoesNotEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	pid, said := hold(t, path, stubborn+"=yes")
	if said != "<nil>" {
		t.Fatal(said)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := pidlock.End(ctx, path, unix.SIGTERM)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fmt.Sprint(pid)) {
		t.Errorf("got %v, want that time is up for process %d", err, pid)
	}
	if err := pidlock.End(t.Context(), path, unix.SIGKILL); err != nil {
		t.Error(err)
	}
	expectPID(t, "killed", path, 0)
}
