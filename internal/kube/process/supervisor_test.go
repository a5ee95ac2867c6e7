package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long a busy computer may take for what takes milliseconds.
const patience = 2 * time.Minute

func TestKilledProcessComesBack(t *testing.T) {
	s, _ := run(t, shell("sleeper", "exec sleep 1000"))
	first := waitFor(t, s, "sleeper", func(p Status) bool { return p.Ready })
	kill(t, first.PID)
	second := waitFor(t, s, "sleeper", func(p Status) bool { return p.Restarts == 1 && p.Ready })
	if second.PID == first.PID || second.LastExit != "signal: killed" {
		t.Errorf("got %+v, want another process, and that the one before was killed", second)
	}
}

func TestEndedProcessComesBackEvenIfItSucceeded(t *testing.T) {
	s, _ := run(t, shell("brief", "exit 0"))
	waitFor(t, s, "brief", func(p Status) bool { return p.Restarts >= 2 && p.LastExit == "exit status 0" })
}

func TestWaitReadyNamesWhatIsMissing(t *testing.T) {
	s, logs := run(t, shell("broken", "echo no such luck; exit 3"))
	waitFor(t, s, "broken", func(p Status) bool { return p.LastExit != "" })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.WaitReady(ctx, "broken")
	for _, part := range []string{"broken", "exit status 3", filepath.Join(logs, "broken.log")} {
		if !strings.Contains(errorText(err), part) {
			t.Errorf("got error %q, want it to name %q", errorText(err), part)
		}
	}
	if content, err := os.ReadFile(filepath.Join(logs, "broken.log")); err != nil || !strings.HasPrefix(string(content), "no such luck\n") {
		t.Errorf("the log holds %q (%v), want what the process said", content, err)
	}
}

func TestStartsAfterAndStopsBefore(t *testing.T) {
	dir := t.TempDir()
	story := filepath.Join(dir, "story")
	gate := filepath.Join(dir, "gate")
	tell := func(name string) Process {
		return shell(name, fmt.Sprintf(`trap 'echo stop %[1]s >>%[2]s; exit' TERM; echo start %[1]s >>%[2]s; while :; do sleep 0.01; done`, name, story))
	}
	first, second := tell("first"), tell("second")
	first.Ready = func(context.Context) error { _, err := os.Stat(gate); return err }
	second.After = []string{"first"}
	second.Ready = func(context.Context) error { return contains(story, "start second") }

	s, _ := newSupervisor(t, first, second)
	stop := start(t.Context(), func(ctx context.Context) { _ = s.Run(ctx) })
	waitFor(t, s, "first", func(p Status) bool { return p.PID != 0 && contains(story, "start first") == nil })
	if got := s.Status()[1]; got.PID != 0 {
		t.Errorf("second runs (%+v) before first is ready", got)
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, s, "second", func(p Status) bool { return p.Ready })
	stop()
	content, err := os.ReadFile(story)
	if err != nil {
		t.Fatal(err)
	}
	want := "start first\nstart second\nstop second\nstop first\n"
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

func TestStubbornProcessIsKilledAfterItsGrace(t *testing.T) {
	stubborn := shell("stubborn", `trap '' TERM; while :; do sleep 0.01; done`)
	stubborn.Grace = 50 * time.Millisecond
	s, _ := newSupervisor(t, stubborn)
	stop := start(t.Context(), func(ctx context.Context) { _ = s.Run(ctx) })
	running := waitFor(t, s, "stubborn", func(p Status) bool { return p.Ready })
	stop()
	if err := syscall.Kill(running.PID, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", running.PID, err)
	}
}

func TestChildInheritsLittle(t *testing.T) {
	t.Setenv("SHELL_SECRET", "swordfish")
	t.Setenv("HTTPS_PROXY", "http://proxy.example")
	child := shell("child", `env; readlink /proc/self/fd/0; exec sleep 1000`)
	child.Env = []string{"OWN=yes"}
	_, logs := run(t, child)
	log := filepath.Join(logs, "child.log")
	eventually(t, func() bool { return contains(log, "/dev/null") == nil })
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"PATH=": true, "OWN=yes": true, "swordfish": false, "PROXY": false} {
		if got := strings.Contains(string(content), text); got != want {
			t.Errorf("its environment and input hold %q: %t, want %t:\n%s", text, got, want, content)
		}
	}
}

// TestChildEndsWithItsSupervisor runs this test's binary as a supervisor, kills that, and looks for its child.
func TestChildEndsWithItsSupervisor(t *testing.T) {
	const role = "UMBEL_TEST_SUPERVISOR"
	if dir := os.Getenv(role); dir != "" {
		s, err := New(Config{
			Processes: []Process{shell("child", "echo $$ >"+dir+"/pid; exec sleep 1000")}, LogDir: dir, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(s.Run(t.Context())) // killed before it returns
	}
	dir := t.TempDir()
	supervisor := exec.Command(os.Args[0], "-test.run=^TestChildEndsWithItsSupervisor$")
	supervisor.Env = append(os.Environ(), role+"="+dir)
	if err := supervisor.Start(); err != nil {
		t.Fatal(err)
	}
	var child int
	eventually(t, func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			return false
		}
		_, err = fmt.Sscan(string(content), &child)
		return err == nil
	})
	kill(t, supervisor.Process.Pid)
	_ = supervisor.Wait()
	eventually(t, func() bool { return gone(child) })
}

func TestRotateKeepsOneOldLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "x.log")
	writer, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for _, text := range []string{"old and long", "new"} {
		if _, err := writer.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := rotate(log, 5); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, file := range []string{log, log + ".1"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got[filepath.Base(file)] = string(content)
	}
	if diff := cmp.Diff(map[string]string{"x.log": "new", "x.log.1": "old and long"}, got); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
}

func shell(name, script string) Process {
	return Process{Name: name, Path: "/bin/sh", Args: []string{"-c", script}}
}

func newSupervisor(t *testing.T, processes ...Process) (s *Supervisor, logs string) {
	t.Helper()
	logs = t.TempDir()
	s, err := New(Config{Processes: processes, LogDir: logs, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, logs
}

// run supervises the processes until the test ends.
func run(t *testing.T, processes ...Process) (s *Supervisor, logs string) {
	t.Helper()
	s, logs = newSupervisor(t, processes...)
	t.Cleanup(start(context.WithoutCancel(t.Context()), func(ctx context.Context) { _ = s.Run(ctx) }))
	return s, logs
}

// waitFor returns the status of the named process when it is as wanted.
func waitFor(t *testing.T, s *Supervisor, name string, wanted func(Status) bool) (found Status) {
	t.Helper()
	eventually(t, func() bool {
		for _, status := range s.Status() {
			if status.Name == name && wanted(status) {
				found = status
				return true
			}
		}
		return false
	})
	return found
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatal("it does not happen")
		case <-ticker.C:
		}
	}
}

func contains(file, text string) error {
	content, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(content), text) {
		err = fmt.Errorf("%s does not hold %q yet", file, text)
	}
	return err
}

// gone says whether the process has ended, collected or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
