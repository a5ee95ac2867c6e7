package session

import (
	"testing"
	"time"
)

func TestAgentsAreBackWithinTwentySeconds(t *testing.T) {
	pauses := retries(func() float64 { return 0.999 })
	var first, longest time.Duration
	for attempt := range 50 {
		pause := pauses.Next()
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
