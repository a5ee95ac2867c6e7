package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestPushesThatAreNotGenuine: who sends them is heard so often and no more; others are heard all the while.
func TestPushesThatAreNotGenuine(t *testing.T) {
	now, calls := time.Unix(0, 0), 0
	hears := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.Header.Get("X-Gitlab-Token") != "right" {
			http.Error(w, "no", http.StatusForbidden)
		}
	})
	g := &Gateway{Config: Config{Hooks: hears}, pushes: newAttempts(func() time.Time { return now })}
	push := func(from, token string) int {
		r := httptest.NewRequest(http.MethodPost, "/hooks/team/pushes", nil)
		r.RemoteAddr = from + ":1234"
		r.Header.Set("X-Gitlab-Token", token)
		answer := httptest.NewRecorder()
		g.ServeHTTP(answer, r)
		return answer.Code
	}
	for range 100 {
		push("192.0.2.1", "wrong")
	}
	if calls > 20 {
		t.Errorf("100 pushes that were not genuine had the hub look %d times", calls)
	}
	if got := push("192.0.2.1", "right"); got != http.StatusTooManyRequests {
		t.Errorf("the address is answered %d, want to wait", got)
	}
	for range 100 {
		if got := push("192.0.2.2", "right"); got != http.StatusOK {
			t.Fatalf("another address is answered %d", got)
		}
	}
	now = now.Add(time.Minute)
	if got := push("192.0.2.1", "right"); got != http.StatusOK {
		t.Errorf("after a minute the address is answered %d", got)
	}
	g.Hooks = nil
	if got := push("192.0.2.2", "right"); got != http.StatusNotFound {
		t.Errorf("a hub that hears of no pushes answers %d", got)
	}
}
