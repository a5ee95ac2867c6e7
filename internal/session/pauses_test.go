package session

import (
	"testing"
	"time"
)

var dawn = time.Date(2026, 11, 26, 6, 0, 0, 0, time.UTC)

func almostOne() float64 { return 0.999 }

func TestAgentsAreBackWithinTwentySeconds(t *testing.T) {
	pauses := newPauses(almostOne)
	var first, longest time.Duration
	for attempt := range 50 {
		pause := pauses.after(0, dawn)
		if attempt == 0 {
			first = pause
		}
		longest = max(longest, pause)
	}
	if first > time.Second {
		t.Errorf("the first pause is up to %s: a hub that is back at once waits for its agents", first)
	}
	if longest > 15*time.Second {
		t.Errorf("the longest pause is %s: agents are to be back 20 s after the hub, handshakes included", longest)
	}
}

// A replica of the hub dies every few seconds: its agent tries the others at once, every time.
func TestAnAgentIsBackAtOnceAgainAndAgain(t *testing.T) {
	pauses, now := newPauses(almostOne), dawn
	for death := range 10 {
		now = now.Add(3 * time.Second)
		if pause := pauses.after(3*time.Second, now); pause > time.Second {
			t.Errorf("after death %d it waits %s", death, pause)
		}
		pauses.after(0, now) // the dead one was tried once more
	}
}

// Two agents have one key and replace each other: they do so less than once a second.
func TestTwoAgentsWithOneKeyDoNotDialInAHotLoop(t *testing.T) {
	pauses, now, attempts := newPauses(almostOne), dawn, 0
	for ; now.Before(dawn.Add(10 * time.Minute)); attempts++ {
		now = now.Add(pauses.after(time.Millisecond, now) + time.Millisecond)
	}
	if attempts > 600 { // one a second
		t.Errorf("%d attempts in ten minutes", attempts)
	}
}
