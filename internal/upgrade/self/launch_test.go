package self

import (
	"bytes"
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
	"testing/synctest"
	"time"

	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/version"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("UMBEL_TEST_AGENT"); dir != "" {
		os.Exit(agentMain(dir))
	}
	os.Exit(kubetest.Main(m))
}

// agentMain is an agent that runs as a process: this test's program, which does what the word at its end says.
func agentMain(dir string) int {
	raw, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return 1
	}
	word := string(raw[bytes.LastIndexByte(raw, ' ')+1:])
	build, err := version.Running()
	if err != nil {
		return 1
	}
	l := Launcher{Dir: dir, Args: os.Args, Build: build, Now: time.Now, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	err = l.Run(context.Background(), func(context.Context) error {
		if err := note(dir, fmt.Sprintf("%s %d", word, os.Getpid())); err != nil {
			return err
		}
		switch record, _ := readRecord(dir); {
		case word == "exits":
			return errors.New("this program is broken")
		case word != "hangs" && record.Phase == Armed && record.Build == build:
			record.Phase = Done
			if err := writeRecord(dir, record); err != nil {
				return err
			}
		}
		for { // select {} would be a deadlock to the runtime of a program without cgo
			time.Sleep(time.Hour)
		}
	})
	fmt.Fprintln(os.Stderr, err)
	return ExitCode(err)
}

// note appends a line to the journal: who is the agent.
func note(dir, line string) error {
	f, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	return err
}

// den is the folder of an agent that is a process, with the programs in it.
type den struct {
	t         *testing.T
	dir       string
	installed string // path of the program that is started
	cmd       *exec.Cmd
	ended     chan error
}

func newDen(t *testing.T) *den {
	d := &den{t: t, dir: t.TempDir()}
	d.installed = filepath.Join(d.dir, "installed")
	d.make(d.installed, "first")
	t.Cleanup(d.kill)
	return d
}

// make makes a program that is called by a word, and returns its build.
func (d *den) make(path, word string) string {
	d.t.Helper()
	self, err := os.Executable()
	if err == nil {
		var raw []byte
		raw, err = os.ReadFile(self)
		if err == nil {
			err = os.WriteFile(path, append(raw, " "+word...), 0o700)
		}
	}
	if err != nil {
		d.t.Fatal(err)
	}
	build, err := version.Build(path)
	if err != nil {
		d.t.Fatal(err)
	}
	return build
}

// keep makes a program where upgrades have theirs.
func (d *den) keep(word string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, word)
	build := d.make(path, word)
	kept := Process{Dir: d.dir}.program(build)
	if err := errors.Join(os.MkdirAll(filepath.Dir(kept), 0o700), os.Rename(path, kept)); err != nil {
		d.t.Fatal(err)
	}
	return build
}

func (d *den) start() {
	d.t.Helper()
	d.cmd = exec.Command(d.installed)
	d.cmd.Env = append(os.Environ(), "UMBEL_TEST_AGENT="+d.dir)
	d.cmd.Stderr = d.t.Output()
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.ended = make(chan error, 1)
	go func() { d.ended <- d.cmd.Wait() }()
}

// kill ends what start started as a power cut would.
func (d *den) kill() {
	if d.cmd == nil {
		return
	}
	d.cmd.Process.Signal(syscall.SIGKILL)
	<-d.ended
	d.cmd = nil
}

func (d *den) write(r Record) {
	d.t.Helper()
	if err := writeRecord(d.dir, r); err != nil {
		d.t.Fatal(err)
	}
}

// says waits until these were the agent, one after the other, and the record is in a phase.
func (d *den) says(phase Phase, words ...string) Record {
	d.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		raw, _ := os.ReadFile(filepath.Join(d.dir, "journal"))
		var were []string
		for line := range strings.Lines(string(raw)) {
			word, _, _ := strings.Cut(line, " ")
			were = append(were, word)
		}
		record, err := readRecord(d.dir)
		if err == nil && record.Phase == phase && strings.Join(were, " ") == strings.Join(words, " ") {
			return record
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("the agents were %q, and the record is %+v, %v; want %q and %s", were, record, err, words, phase)
		}
	}
}

// alone checks that one process of the den is the agent. One that was killed may end a moment later on a busy machine.
func (d *den) alone() {
	d.t.Helper()
	alive, raw := d.alive()
	for deadline := time.Now().Add(2 * time.Minute); alive != 1 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		alive, raw = d.alive()
	}
	if alive != 1 {
		d.t.Errorf("%d agents run at once:\n%s", alive, raw)
	}
}

// alive counts the processes of the den that were the agent and run still.
func (d *den) alive() (alive int, raw []byte) {
	d.t.Helper()
	raw, err := os.ReadFile(filepath.Join(d.dir, "journal"))
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var word string
		var pid int
		if _, err := fmt.Sscan(line, &word, &pid); err != nil {
			d.t.Fatal(err)
		}
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(state), ") Z ") {
			alive++
		}
	}
	return alive, raw
}

func TestAProcessIsUpgraded(t *testing.T) {
	d := newDen(t)
	first, second, third := d.make(d.installed, "first"), d.keep("second"), d.keep("third")
	d.start()
	d.says("", "first")
	d.alone()
	d.kill()
	d.write(Record{Build: second, From: first, Installed: first, Phase: Armed, Deadline: time.Now().Add(time.Minute)})
	d.start()
	d.says(Done, "first", "second")
	d.alone()
	d.kill() // the guard; its child goes with it
	d.start()
	d.says(Done, "first", "second", "second")
	d.alone()
	d.kill()
	d.write(Record{Build: third, From: second, Installed: first, Phase: Armed, Deadline: time.Now().Add(time.Minute)})
	d.start()
	d.says(Done, "first", "second", "second", "third")
	d.alone()
}

func TestAProcessIsRolledBack(t *testing.T) {
	for _, c := range []struct {
		word string
		why  string
		late bool
	}{
		{"exits", "this program is broken", false},
		{"hangs", "not in session in time", true},
	} {
		t.Run(c.word, func(t *testing.T) {
			d := newDen(t)
			first, second := d.make(d.installed, "first"), d.keep(c.word)
			d.write(Record{Build: second, From: first, Installed: first, Phase: Armed, Deadline: time.Now().Add(time.Minute)})
			d.start()
			if c.late {
				d.late(d.says(Armed, c.word))
			}
			record := d.says(RolledBack, c.word, "first")
			if !strings.Contains(record.Message, c.why) {
				t.Errorf("it says %q, want %q", record.Message, c.why)
			}
			d.alone()
			d.kill()
			d.start()
			d.says(RolledBack, c.word, "first", "first")
			d.alone()
		})
	}
}

// late lets the time of an upgrade be over.
func (d *den) late(record Record) {
	record.Deadline = time.Now().Add(-time.Second)
	d.write(record)
}

// A record that cannot be read is no reason to give a program up, nor to let it go on after its time.
func TestARecordThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, recordFile), 0o700); err != nil { // reading it fails
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancelCause(t.Context())
		defer end(nil)
		began := time.Now()
		go Launcher{Dir: dir, Now: time.Now}.await(life, end, began.Add(time.Minute))
		<-life.Done()
		if after := time.Since(began); after <= time.Minute || after > time.Minute+time.Second || !errors.Is(context.Cause(life), errLate) {
			t.Errorf("given up after %s: %v", after, context.Cause(life))
		}
	})
}

// Whenever the guard is killed while the new program is tried, its next life finds out what is so.
func TestAGuardIsKilled(t *testing.T) {
	d := newDen(t)
	first, second := d.make(d.installed, "first"), d.keep("hangs")
	d.write(Record{Build: second, From: first, Installed: first, Phase: Armed, Deadline: time.Now().Add(time.Minute)})
	d.start()
	d.says(Armed, "hangs")
	d.kill()
	d.start()
	record := d.says(Armed, "hangs", "hangs")
	d.alone()
	d.late(record)
	d.says(RolledBack, "hangs", "hangs", "first")
	d.alone()
}

// A program that is not there, or is damaged, is not what the agent ends with.
func TestAProgramIsGone(t *testing.T) {
	d := newDen(t)
	first := d.make(d.installed, "first")
	d.write(Record{Build: buildB, From: first, Installed: first, Phase: Armed, Deadline: time.Now().Add(time.Minute)})
	d.start()
	record := d.says(RolledBack, "first")
	if !strings.Contains(record.Message, "could not be started") {
		t.Errorf("it says %q", record.Message)
	}
	d.kill()
	d.write(Record{Build: buildB, From: first, Installed: first, Phase: Done})
	d.start()
	d.says(Done, "first", "first")
	d.alone()
}
