package hosted

import (
	"errors"
	"testing"
	"time"
)

// TestARestoreThatFailsIsTriedLessAndLess: in a day of looks each ten seconds apart it is tried some three hundred times, not nine
// thousand; one that is asked for anew at once.
func TestARestoreThatFailsIsTriedLessAndLess(t *testing.T) {
	tries, now := newTries(), time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	spoilt := errors.New("it is not what was put there")
	var at []time.Duration
	for begun := now; now.Sub(begun) < 24*time.Hour; now = now.Add(later) {
		switch err := tries.rests("u", "dev/a@1", now); {
		case err == nil:
			at = append(at, now.Sub(begun))
			tries.ended("u", "dev/a@1", spoilt, now)
		case !errors.Is(err, spoilt):
			t.Fatalf("while it rests it says %v", err)
		}
	}
	for i, want := range []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second, 310 * time.Second, 610 * time.Second} {
		if at[i] != want {
			t.Errorf("try %d was after %s, want %s", i+1, at[i], want)
		}
	}
	if len(at) < 288 || len(at) > 300 {
		t.Errorf("it was tried %d times in a day", len(at))
	}
	if err := tries.rests("u", "dev/a@2", now); err != nil {
		t.Errorf("asked for anew: %v", err)
	}
	if err := tries.rests("v", "dev/a@1", now); err != nil {
		t.Errorf("another control plane: %v", err)
	}
	tries.ended("u", "dev/a@1", nil, now)
	if err := tries.rests("u", "dev/a@1", now); err != nil {
		t.Errorf("when it went well: %v", err)
	}
}
