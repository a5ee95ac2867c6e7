package progress

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLines(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	v := New(&out, Lines, func() time.Time { return now })
	first, second := v.Start("first"), v.Start("second")
	first.Note("a pipe does not show notes")
	now = now.Add(1500 * time.Millisecond)
	if err := second.End(nil); err != nil {
		t.Error(err)
	}
	now = now.Add(time.Second)
	bad := errors.New("no")
	if err := first.End(bad); err != bad {
		t.Errorf("End returns %v, want the error that it was given", err)
	}
	v.Close()
	want := "✓ second                                                  1.5s\n✗ first                                                   2.5s\n"
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", out.String(), want)
	}
}

func TestLiveViewLeavesOnlyFinishedLines(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	v := New(&out, Live, func() time.Time { return now })
	s := v.Start("step")
	s.Note("at work")
	_ = s.End(nil)
	v.Start("never ends")
	v.Close()
	// What a terminal shows in the end: go up and clear as the output says.
	var screen []string
	for _, part := range strings.SplitAfter(out.String(), "\n") {
		for strings.HasPrefix(part, "\x1b[1A\x1b[J") {
			screen, part = screen[:len(screen)-1], strings.TrimPrefix(part, "\x1b[1A\x1b[J")
		}
		if part != "" {
			screen = append(screen, part)
		}
	}
	if len(screen) != 1 || !strings.HasPrefix(screen[0], "✓ step") {
		t.Errorf("the screen shows %q, want the finished step alone", screen)
	}
}
