package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// scene is a Witness with a folder of logs and a clock.
type scene struct {
	*Witness
	t    *testing.T
	dir  string
	now  time.Time
	said bytes.Buffer
	self error
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, dir: t.TempDir(), now: noon}
	s.Witness = New(Needs{
		Pattern: filepath.Join(s.dir, "*.log"), Manager: "umbel-agent", Holds: func(p Place) bool { return p.Namespace != "other" },
		Self: func(context.Context) (string, error) { return self, s.self },
		Log:  slog.New(slog.NewTextHandler(&s.said, nil)), Now: func() time.Time { return s.now },
	})
	t.Cleanup(func() {
		for _, f := range s.files {
			f.close()
		}
	})
	return s
}

// after looks once more, so much later.
func (s *scene) after(d time.Duration) {
	s.now = s.now.Add(d)
	s.look(s.t.Context(), s.now)
}

// writes adds to a log.
func (s *scene) writes(file string, text ...string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, file), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(strings.Join(text, ""))
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) deletes(user string, changes ...string) string {
	return line(append(changes, `"username":"ada"`, `"username":"`+user+`"`, "2026-11-28T12:00:00.000000Z", s.now.Format(time.RFC3339Nano))...) + "\n"
}

// asks asks who deleted it just now.
func (s *scene) asks() *string {
	got := new(string)
	s.Ask(Question{Place: web, Deleted: true, UID: "1", Noticed: s.now}, func(a Answer) { *got = a.User })
	return got
}

func (s *scene) rotates(file, to string) {
	s.t.Helper()
	if err := os.Rename(filepath.Join(s.dir, file), filepath.Join(s.dir, to)); err != nil {
		s.t.Fatal(err)
	}
}

// TestBeforeAndAfter: the line is there before the question, or comes later, or too late.
func TestBeforeAndAfter(t *testing.T) {
	s := newScene(t)
	s.writes("audit.log", s.deletes("before"), "\n")
	s.after(0)
	first := s.asks()
	s.after(2 * time.Second)
	if *first != "" {
		t.Errorf("what was there before the start is read: %s", *first)
	}
	s.writes("audit.log", s.deletes("early"))
	s.after(interval)
	early := s.asks()
	if s.after(settles - 1); *early != "" {
		t.Errorf("%s is named at once, though another line may come", *early)
	}
	if s.after(1); *early != "early" {
		t.Errorf("got %q", *early)
	}

	s = newScene(t)
	s.writes("audit.log")
	s.after(0)
	written := s.deletes("late")
	late := s.asks()
	s.after(20 * time.Second)
	s.writes("audit.log", written)
	if s.after(interval); *late != "late" {
		t.Errorf("got %q", *late)
	}
	tooLate := s.asks()
	s.deeds = nil
	s.after(expires + interval)
	s.writes("audit.log", written)
	if s.after(interval); *tooLate != "" || len(s.questions) != 0 {
		t.Errorf("got %q, and %d questions wait", *tooLate, len(s.questions))
	}
}

// TestAskedInTheMiddleOfALook: what is noticed while the files are read is no question that is too late, nor one for this look. A clock that is put
// back by far leaves none for ever.
func TestAskedInTheMiddleOfALook(t *testing.T) {
	s := newScene(t)
	s.writes("audit.log")
	s.after(0)
	began := s.now
	s.now = s.now.Add(10 * time.Millisecond)
	written := s.deletes("ada")
	got := s.asks()
	s.look(t.Context(), began)
	s.writes("audit.log", written)
	if s.after(settles); *got != "ada" {
		t.Errorf("got %q", *got)
	}
	s.asks()
	if s.after(-expires); len(s.questions) > 0 {
		t.Errorf("after the clock was put back there are %d questions", len(s.questions))
	}
}

// TestRotation: by renaming, also in the middle of what is written, and by emptying; and a file that is not there, or no file.
func TestRotation(t *testing.T) {
	s := newScene(t)
	s.after(0)
	if !strings.Contains(s.said.String(), "audit log cannot be read") {
		t.Errorf("nothing says that there is no log: %s", &s.said)
	}
	s.writes("audit.log", "garbage\n\n", s.deletes("appears"))
	got := s.asks()
	if s.after(search); *got != "appears" {
		t.Errorf("a file that came later: %q in %s", *got, &s.said)
	}

	s.deeds = nil // of an object of the same uid
	s.writes("audit.log", s.deletes("nobody")[:100])
	s.after(interval)
	s.rotates("audit.log", "audit-1")
	s.writes("audit-1", "\n", s.deletes("old"))
	s.writes("audit.log", s.deletes("new", `"name":"web"`, `"name":"api"`))
	got = s.asks()
	api := ""
	s.Ask(Question{Place: Place{"apps", "deployments", "shop", "api"}, Deleted: true, Noticed: s.now}, func(a Answer) { api = a.User })
	if s.after(settles); *got != "old" || api != "new" {
		t.Errorf("in the middle of a rotation: %q and %q", *got, api)
	}

	s.deeds = nil
	s.rotates("audit.log", "audit-2")
	s.after(interval)
	s.writes("audit-2", s.deletes("meanwhile"))
	got = s.asks()
	if s.after(settles); *got != "meanwhile" {
		t.Errorf("while no file has the name: %q", *got)
	}
	s.now = s.now.Add(2 * deletionPatience)
	if err := os.WriteFile(filepath.Join(s.dir, "audit.log"), []byte(s.deletes("again")), 0o600); err != nil {
		t.Fatal(err)
	}
	got = s.asks()
	if s.after(settles); *got != "again" {
		t.Errorf("got %q", *got)
	}
	s.now = s.now.Add(2 * deletionPatience)
	short := s.deletes("short")
	if err := os.Truncate(filepath.Join(s.dir, "audit.log"), 0); err != nil {
		t.Fatal(err)
	}
	s.after(interval)
	s.writes("audit.log", short)
	got = s.asks()
	if s.after(settles); *got != "short" {
		t.Errorf("an emptied file: %q", *got)
	}

	if err := os.Mkdir(filepath.Join(s.dir, "folder.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	before := strings.Count(s.said.String(), "folder.log")
	for range 3 {
		s.after(search)
	}
	if n := strings.Count(s.said.String(), "is not a file") - before; n != 1 {
		t.Errorf("a folder is said %d times to be no file: %s", n, &s.said)
	}
}

// TestSeveralAPIServers: the one that was asked has it in its log.
func TestSeveralAPIServers(t *testing.T) {
	s := newScene(t)
	s.writes("a.log")
	s.writes("b.log")
	s.after(0)
	s.writes("b.log", s.deletes("ada"))
	got := s.asks()
	if s.after(settles); *got != "ada" {
		t.Errorf("got %q", *got)
	}
}

// TestUntilItIsKnownWhoTheAgentIs nothing is read, and nothing is lost.
func TestUntilItIsKnownWhoTheAgentIs(t *testing.T) {
	s := newScene(t)
	s.writes("audit.log")
	s.self = errors.New("no answer")
	s.after(0)
	s.writes("audit.log", s.deletes("ada"))
	got := s.asks()
	if s.after(settles); *got != "" {
		t.Errorf("got %q", *got)
	}
	s.self = nil
	if s.after(search); *got != "ada" {
		t.Errorf("got %q", *got)
	}
}

// TestWhatItCostsIsBounded: lines without an end, more than can be read, objects of others, and thousands of deletions and questions.
func TestWhatItCostsIsBounded(t *testing.T) {
	s := newScene(t)
	s.writes("audit.log")
	s.after(0)
	s.writes("audit.log", strings.Repeat("x", 3*maxLine), "\n", s.deletes("after a long line"))
	got := s.asks()
	if s.after(settles); *got != "after a long line" {
		t.Errorf("got %q", *got)
	}
	if !strings.Contains(s.said.String(), "not read whole") {
		t.Errorf("nothing says that something was left out: %s", &s.said)
	}
	for _, f := range s.files {
		if cap(f.rest) > maxLine {
			t.Errorf("%d bytes of a line are kept", cap(f.rest))
		}
	}
	s.deeds = nil
	s.writes("audit.log", s.deletes("ada", `"namespace":"shop"`, `"namespace":"other"`))
	if s.after(interval); len(s.deeds) != 0 {
		t.Errorf("kept %+v", s.deeds)
	}
	for i := range 3 * maxDeeds {
		s.writes("audit.log", s.deletes("ada", `"name":"web"`, fmt.Sprintf(`"name":"web-%d"`, i)))
		if i%100 == 0 {
			s.after(interval)
		}
	}
	for range 3 {
		s.after(interval)
	}
	if len(s.deeds) > maxDeeds || cap(s.deeds) > 2*maxDeeds {
		t.Errorf("%d deeds are kept", len(s.deeds))
	}
	s.writes("audit.log", strings.Repeat(strings.Repeat("y", 1023)+"\n", maxBehind/1024+1))
	var before, behind runtime.MemStats
	runtime.ReadMemStats(&before)
	s.after(interval)
	s.after(interval)
	s.writes("audit.log", s.deletes("after a flood"))
	got = s.asks()
	if s.after(settles); *got != "after a flood" {
		t.Errorf("got %q", *got)
	}
	if runtime.ReadMemStats(&behind); behind.TotalAlloc-before.TotalAlloc > 8<<20 {
		t.Errorf("%d bytes were allocated", behind.TotalAlloc-before.TotalAlloc)
	}
	for range 2 * maxQuestions {
		s.Ask(Question{Place: Place{Resource: "x"}, Noticed: s.now}, func(Answer) {})
	}
	if len(s.questions) != maxQuestions {
		t.Errorf("%d questions wait", len(s.questions))
	}
	if s.after(2 * deletionPatience); len(s.questions)+len(s.deeds) != 0 {
		t.Errorf("%d questions and %d deeds stay", len(s.questions), len(s.deeds))
	}
}

// BenchmarkLook is what a line costs, of those that most are: the agent's own.
func BenchmarkLook(b *testing.B) {
	own := []byte(line(`"user":{"username":"ada","groups":["system:authenticated"]}`, `"user":{"username":"`+self+`"}`, `"verb":"delete"`, `"verb":"patch"`))
	r := newReader(self, "umbel-agent")
	for b.Loop() {
		if _, ok := r.read(own); ok {
			b.Fatal("it counts")
		}
	}
}
