package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// childVariable makes this test program one of the children below.
const childVariable = "UMBEL_AUDIT_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVariable) {
	case "endless":
		recordForEver(os.Args[1])
	case "full":
		recordOnAFullDisk(os.Args[1])
	default:
		os.Exit(m.Run())
	}
}

// child starts this test program again, as one that does something with a log in dir.
func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, dir)
	cmd.Env = append(os.Environ(), childVariable+"="+what)
	return cmd
}

func open(t testing.TB, config LogConfig) *Log {
	t.Helper()
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	l, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// numbered is an event that is told from others by its number.
func numbered(n int) *auditv1.Event {
	event := newEvent(time.Now())
	event.User, event.Verb = hubUser(), "test"
	event.Annotations["n"] = strconv.Itoa(n)
	return event
}

// settle waits until what was recorded is in the file: a machine that has too much to do looks like a disk that hangs, and nobody waits for that.
func settle(source Source) {
	l, ours := source.(*Log)
	if !ours {
		return
	}
	l.mu.Lock()
	waits, written := len(l.pending)+l.flying > 0, l.batch
	l.mu.Unlock()
	if !waits {
		return
	}
	l.poke()
	select {
	case <-written:
	case <-l.closed:
	}
}

// numbers reads which events are there, in their order.
func numbers(t testing.TB, source Source) ([]int, Report) {
	t.Helper()
	settle(source)
	var got []int
	report, err := source.Read(t.Context(), Query{}, func(line []byte) error {
		if n, ok := numberOf(line); ok {
			got = append(got, n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, report
}

func numberOf(line []byte) (int, bool) {
	var event auditv1.Event
	if json.Unmarshal(line, &event) != nil {
		return 0, false
	}
	n, err := strconv.Atoi(event.Annotations["n"])
	return n, err == nil
}

// inOrder checks that there are the events first to last, once each.
func inOrder(t *testing.T, got []int, first, last int) {
	t.Helper()
	if len(got) != last-first+1 {
		t.Errorf("got %d events, want %d to %d", len(got), first, last)
	}
	for i, n := range got {
		if n != first+i {
			t.Fatalf("got event %d where %d belongs", n, first+i)
		}
	}
}

func TestALogIsForItsOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "log")
	l := open(t, LogConfig{Dir: dir})
	l.Record(numbered(1))
	for path, want := range map[string]os.FileMode{dir: 0o700, l.path: 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

func recordForEver(dir string) {
	l, err := Open(LogConfig{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	next := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				mu.Lock()
				next++
				n := next
				mu.Unlock()
				l.Record(numbered(n))
				fmt.Println(n)
			}
		})
	}
	all.Wait()
}

// TestKilledWhileWriting: what Record has returned for is there, and what comes after is not harmed by what is torn.
func TestKilledWhileWriting(t *testing.T) {
	for round := range 5 {
		dir := t.TempDir()
		cmd := child(t, "endless", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		acknowledged := map[int]bool{}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				acknowledged[n] = true
			}
			if len(acknowledged) == 300*(round+1) {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		// As if the kill had come in the middle of a line, which is seldom.
		f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, `{"kind":"Event","apiVers`)
		f.Close()

		l := open(t, LogConfig{Dir: dir})
		if got, _ := numbers(t, l); len(got) < len(acknowledged) {
			t.Errorf("%d of %d events are there before the log goes on", len(got), len(acknowledged))
		}
		l.Record(numbered(-1))
		got, report := numbers(t, l)
		for _, n := range got {
			delete(acknowledged, n)
		}
		if len(acknowledged) > 0 {
			t.Errorf("%d events are missing that were recorded", len(acknowledged))
		}
		if got[len(got)-1] != -1 {
			t.Errorf("the event after the torn line is not there: the last one is %d", got[len(got)-1])
		}
		if report.Damaged != 1 {
			t.Errorf("%d lines are damaged, want the torn one", report.Damaged)
		}
	}
}

// fileLimit is how long a file may become in the child: its disk is full there.
const fileLimit = 100_000

func recordOnAFullDisk(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	limit := func(bytes uint64) {
		fail(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}))
	}
	l, err := Open(LogConfig{Dir: dir, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	fail(err)
	limit(fileLimit)
	const events = 40_000 // more than what waits in memory
	for n := range events {
		l.Record(numbered(n))
	}
	l.mu.Lock()
	stuck, lost := l.stuck, l.lost
	l.mu.Unlock()
	if !stuck || lost == 0 {
		fail(fmt.Errorf("stuck: %t, lost: %d", stuck, lost))
	}
	limit(unix.RLIM_INFINITY)
	written := 0
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var told auditv1.Event
	_, err = l.Read(ctx, Query{Follow: true}, func(line []byte) error {
		if n, ok := numberOf(line); ok {
			if n != written {
				return fmt.Errorf("event %d is where %d belongs", n, written)
			}
			written++
			return nil
		}
		fail(json.Unmarshal(line, &told))
		return errFound
	})
	if !errors.Is(err, errFound) || told.Annotations[LostAnnotation] != strconv.Itoa(lost) || written+lost != events {
		fail(fmt.Errorf("%d written, %d lost, told: %v (%w)", written, lost, told.Annotations, err))
	}
	fail(l.Close())
	fmt.Print("counted")
	os.Exit(0)
}

var errFound = errors.New("found")

// TestAFullDisk neither stops anybody nor loses anything in silence.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "full", dir)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || string(out) != "counted" {
		t.Fatalf("%s %v\n%s", out, err, said.String())
	}
	for _, want := range []string{"cannot be written", "file too large", "are being lost", "written again"} {
		if !bytes.Contains(said.Bytes(), []byte(want)) {
			t.Errorf("the hub's log does not say %q:\n%s", want, said.String())
		}
	}
}

// hanging is a disk that takes nothing until it is released.
type hanging struct {
	release chan struct{}
	content bytes.Buffer
}

func (h *hanging) Write(p []byte) (int, error) {
	<-h.release
	return h.content.Write(p)
}
func (h *hanging) Rotate() error { return nil }
func (h *hanging) Close() error  { return nil }

// TestADiskThatHangs holds up its first writers for a moment, and nobody after them.
func TestADiskThatHangs(t *testing.T) {
	disk := &hanging{release: make(chan struct{})}
	l := newLog(LogConfig{Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}, disk)
	go l.run()
	var first sync.WaitGroup
	for n := range 3 {
		first.Go(func() { l.Record(numbered(n)) })
	}
	first.Wait()
	for n := 3; n < 1000; n++ {
		l.Record(numbered(n))
	}
	if err := l.Close(); err == nil {
		t.Error("a log whose disk hangs closed without a word")
	}
	close(disk.release)
	<-l.closed
	if got := bytes.Count(disk.content.Bytes(), []byte("\n")); got != 1000 {
		t.Errorf("%d events were written once it was back", got)
	}
}

// TestEachDayHasItsFile, so that what is old ages out even where little happens.
func TestEachDayHasItsFile(t *testing.T) {
	var mu sync.Mutex
	now := time.Date(2026, 11, 22, 23, 59, 0, 0, time.UTC)
	l := open(t, LogConfig{Dir: t.TempDir(), Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	l.Record(numbered(1))
	mu.Lock()
	now = now.Add(2 * time.Minute)
	mu.Unlock()
	l.Record(numbered(2))
	l.Record(numbered(3))
	got, report := numbers(t, l)
	inOrder(t, got, 1, 3)
	if report.Damaged != 0 {
		t.Errorf("%d lines are damaged", report.Damaged)
	}
	raw, err := os.ReadFile(l.path)
	if err != nil || bytes.Count(raw, []byte("\n")) != 2 {
		t.Errorf("the second day's file holds %q, %v", raw, err)
	}
}

// TestRotationWhileReading: who follows sees each event once, in order, whatever is renamed, compressed and removed.
func TestRotationWhileReading(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir(), MaxMegabytes: 1, MaxFiles: 100})
	const events = 20_000 // eight megabytes
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var followed []int
	all.Go(func() {
		_, err := l.Read(ctx, Query{Follow: true}, func(line []byte) error {
			if n, ok := numberOf(line); ok {
				followed = append(followed, n)
			}
			if len(followed) == events {
				return errFound
			}
			return nil
		})
		if !errors.Is(err, errFound) {
			t.Errorf("following ended with %v", err)
		}
	})
	for n := range events {
		l.Record(numbered(n))
		if n%4000 == 0 {
			all.Go(func() {
				got, report := numbers(t, l)
				inOrder(t, got, 0, len(got)-1)
				if len(got) < n || report.Damaged > 0 {
					t.Errorf("after %d events %d are there, %d lines are damaged", n, len(got), report.Damaged)
				}
			})
		}
	}
	all.Wait()
	inOrder(t, followed, 0, events-1)
	files, err := os.ReadDir(filepath.Dir(l.path))
	if err != nil || len(files) < 5 {
		t.Errorf("it was not rotated: %v, %v", files, err)
	}
}

// TestItIsBounded in files.
func TestItIsBounded(t *testing.T) {
	dir := t.TempDir()
	l := open(t, LogConfig{Dir: dir, MaxMegabytes: 1, MaxFiles: 2})
	for n := range 15_000 {
		l.Record(numbered(n))
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		zipped, err := filepath.Glob(filepath.Join(dir, "audit-*.log.gz"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) == 3 && len(zipped) == 2 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there are %v", files)
		}
		time.Sleep(20 * time.Millisecond)
	}
	got, report := numbers(t, l)
	inOrder(t, got, got[0], 14_999)
	if report.Damaged != 0 || got[0] == 0 {
		t.Errorf("%d lines are damaged; the first event is %d", report.Damaged, got[0])
	}
}

func TestRecordingAfterTheEnd(t *testing.T) {
	l := open(t, LogConfig{Dir: t.TempDir()})
	l.Record(numbered(1))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l.Record(numbered(2))
	got, _ := numbers(t, l)
	inOrder(t, got, 1, 1)
	var none *Log
	none.Record(numbered(1))
	none.Did(Deed{Verb: issueLike})
}

const issueLike = "issue"
