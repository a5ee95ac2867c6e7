package onward

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"umbel.dev/umbel/internal/metrics/settings"
	"umbel.dev/umbel/internal/metrics/store"
)

// receiverOf reads requests of both versions with Prometheus' own code, unless it is away.
type receiverOf struct {
	mu   sync.Mutex
	away bool
	got  []string
	head http.Header
}

func (r *receiverOf) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.head = request.Header.Clone()
	body, _ := io.ReadAll(request.Body)
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		r.got = append(r.got, err.Error())
	}
	say := func(set labels.Labels, at int64, v float64) {
		text := fmt.Sprint(v)
		if value.IsStaleNaN(v) {
			text = "end"
		}
		r.got = append(r.got, fmt.Sprintf("%s %d %s", set, at, text))
	}
	if strings.Contains(request.Header.Get("Content-Type"), "v2") {
		var m writev2.Request
		if err := m.Unmarshal(raw); err != nil {
			r.got = append(r.got, err.Error())
		}
		b := labels.NewScratchBuilder(0)
		for _, s := range m.Timeseries {
			set, err := s.ToLabels(&b, m.Symbols)
			if err != nil {
				r.got = append(r.got, err.Error())
			}
			say(set, s.Samples[0].Timestamp, s.Samples[0].Value)
		}
		return
	}
	var m prompb.WriteRequest
	if err := m.Unmarshal(raw); err != nil {
		r.got = append(r.got, err.Error())
	}
	b := labels.NewScratchBuilder(0)
	for _, s := range m.Timeseries {
		say(s.ToLabels(&b, nil), s.Samples[0].Timestamp, s.Samples[0].Value)
	}
}

func (r *receiverOf) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiverOf) leave(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

// waits is how many requests wait for a receiver.
func (o *Onward) waits(who string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.to {
		if r.who == who {
			n += r.queue.Len()
		}
	}
	return n
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestWhatWasKeptIsWrittenOn in both versions of the protocol, relabelled and with credentials; what a receiver missed while it was away, and while the
// hub was, it gets afterwards, in order.
func TestWhatWasKeptIsWrittenOn(t *testing.T) {
	first, second := &receiverOf{}, &receiverOf{}
	to := [2]*httptest.Server{httptest.NewServer(first), httptest.NewServer(second)}
	for _, server := range to {
		t.Cleanup(server.Close)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	said, err := settings.Read(map[string][]byte{"prometheus.yml": []byte(`
global: {external_labels: {hub: one, cluster: never}}
remote_write:
  - url: ` + to[0].URL + `/api/v1/write
    basic_auth: {username: hub, password: secret}
    headers: {X-Scope-OrgID: fleet}
  - url: ` + to[1].URL + `
    protobuf_message: io.prometheus.write.v2.Request
    write_relabel_configs:
      - {source_labels: [__name__], regex: 'go_.*', action: drop}
`)})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var end func()
	begin := func() *Onward {
		o := New(dir, quiet)
		if err := o.Apply(said); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- o.Start(ctx) }()
		end = func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		return o
	}
	o := begin()
	sample := func(name string, at int64, value float64) store.Sample {
		return store.Sample{Labels: labels.FromStrings("__name__", name, "cluster", "edge"), Millis: at, Value: value}
	}
	line := func(name string, at int, value any) string {
		return fmt.Sprintf(`{__name__="%s", cluster="edge", hub="one"} %d %v`, name, at, value)
	}
	o.Take([]store.Sample{sample("up", 1000, 1), sample("go_threads", 1000, 7)})
	await(t, "the first samples", func() bool { return len(first.all()) == 2 && len(second.all()) == 1 })
	if user, password, _ := (&http.Request{Header: first.head}).BasicAuth(); user != "hub" || password != "secret" || first.head.Get("X-Scope-OrgID") != "fleet" ||
		first.head.Get("X-Prometheus-Remote-Write-Version") != "0.1.0" || second.head.Get("X-Prometheus-Remote-Write-Version") != "2.0.0" {
		t.Errorf("headers: %v, %v", first.head, second.head)
	}
	first.leave(true)
	o.Take([]store.Sample{sample("up", 2000, 0)})
	await(t, "the one that is there, which has answered", func() bool { return len(second.all()) == 2 && o.waits(to[1].Listener.Addr().String()) == 0 })
	end() // the hub ends, and is started again
	o = begin()
	o.Take([]store.Sample{sample("up", 3000, math.Float64frombits(value.StaleNaN))}) // it has ended
	await(t, "the one that is there", func() bool { return len(second.all()) == 3 })
	first.leave(false)
	await(t, "the one that was away", func() bool { return len(first.all()) == 4 })
	if diff := cmp.Diff([]string{line("up", 1000, 1), line("go_threads", 1000, 7), line("up", 2000, 0), line("up", 3000, "end")}, first.all()); diff != "" {
		t.Errorf("the first (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{line("up", 1000, 1), line("up", 2000, 0), line("up", 3000, "end")}, second.all()); diff != "" {
		t.Errorf("the second (-want +got):\n%s", diff)
	}
	// Nobody is named any more: nothing waits, and nothing is kept for anybody.
	nobody, err := settings.Read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Apply(nobody); err != nil {
		t.Fatal(err)
	}
	o.Take([]store.Sample{sample("up", 4000, 1)})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	end()
	if len(first.all()) != 4 {
		t.Errorf("who is not named any more is written to: %q", first.all())
	}
	refused, err := settings.Read(map[string][]byte{"prometheus.yml": []byte("remote_write: [{url: 'http://a', sigv4: {region: eu}}]")})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Apply(refused); err == nil || !strings.Contains(err.Error(), "remote_write[0]: sigv4, azuread and google_iam are not known here") {
		t.Errorf("got %v", err)
	}
}
