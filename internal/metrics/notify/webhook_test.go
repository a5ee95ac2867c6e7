package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
)

// receiver is who is told: it writes down what, and answers as it is told to.
type receiver struct {
	code int
	got  []message
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if r.code == http.StatusOK {
		var m message
		if err := json.NewDecoder(request.Body).Decode(&m); err != nil {
			r.got = append(r.got, message{Version: err.Error()})
		}
		r.got = append(r.got, m)
	}
	w.WriteHeader(r.code)
}

// said are the messages in short, and forgets them.
func (r *receiver) said() (texts []string) {
	for _, m := range r.got {
		text := m.Status + ":"
		for _, a := range m.Alerts {
			text += fmt.Sprintf(" %s/%s=%s", a.Labels["alertname"], a.Labels["cluster"], a.Status)
		}
		texts = append(texts, text)
	}
	r.got = nil
	return texts
}

// TestAWebhookIsTold once of what fires, again after hours, and once when it is over; what it did not take is told later.
func TestAWebhookIsTold(t *testing.T) {
	at := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	to := &receiver{code: http.StatusOK}
	server := httptest.NewServer(to)
	t.Cleanup(server.Close)
	h := newHook(server.URL+"/secret", "https://hub:1", "fleet-1", server.Client(), func() time.Time { return at }, slog.New(slog.NewTextHandler(io.Discard, nil)))
	alertOf := func(name, cluster string, over bool) *rules.Alert {
		a := &rules.Alert{
			State: rules.StateFiring, Labels: labels.FromStrings("alertname", name, "cluster", cluster, "severity", "critical"),
			Annotations: labels.FromStrings("summary", "it is so"), FiredAt: at.Add(-time.Minute), ValidUntil: at.Add(4 * time.Minute),
		}
		if over {
			a.ResolvedAt = at
		}
		return a
	}
	tell := func(want ...string) {
		t.Helper()
		if err := h.all(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, to.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	}
	h.hear([]*rules.Alert{alertOf("Down", "a", false), alertOf("Down", "b", false), alertOf("Odd", "b", true)})
	h.mu.Lock()
	if len(h.states) != 2 {
		t.Errorf("of %d alerts it knows, one is over before anybody was told", len(h.states))
	}
	h.mu.Unlock()
	if err := h.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := to.got[0]; m.Version != "4" || m.GroupKey != `{}:{alertname="Down"}` || m.CommonLabels["severity"] != "critical" || m.CommonLabels["cluster"] != "" ||
		m.CommonAnnotations["summary"] != "it is so" || m.Alerts[0].Labels["fleet"] != "fleet-1" || m.Alerts[0].StartsAt.IsZero() || m.ExternalURL != "https://hub:1" {
		t.Errorf("got %+v", m)
	}
	if got := to.said(); len(got) != 1 || strings.Count(got[0], "=firing") != 2 || !strings.HasPrefix(got[0], "firing:") {
		t.Errorf("two that fire for one reason are one message: got %q", got)
	}
	tell() // once is enough
	at = at.Add(time.Minute)
	h.hear([]*rules.Alert{alertOf("Down", "a", true), alertOf("Down", "b", false)})
	tell("resolved: Down/a=resolved")
	at = at.Add(repeat)
	h.hear([]*rules.Alert{alertOf("Down", "b", false)})
	tell("firing: Down/b=firing")
	to.code = http.StatusServiceUnavailable
	at = at.Add(time.Minute)
	h.hear([]*rules.Alert{alertOf("Down", "b", true)})
	if err := h.all(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want that it did not take it, without what is secret of the URL", err)
	}
	to.code = http.StatusOK
	tell("resolved: Down/b=resolved")
	tell()
	h.hear([]*rules.Alert{alertOf("Down", "c", false)})
	tell("firing: Down/c=firing")
	at = at.Add(5 * time.Minute) // its rule was deleted: nobody says that it is over
	tell("resolved: Down/c=resolved")
	if len(h.states) != 0 {
		t.Errorf("%d alerts are remembered for nothing", len(h.states))
	}
	server.Close()
	h.hear([]*rules.Alert{alertOf("Down", "d", false)})
	if err := h.all(t.Context()); err == nil || strings.Contains(err.Error(), "secret") || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("got %v, want that nobody is there, without what is secret of the URL", err)
	}
}
