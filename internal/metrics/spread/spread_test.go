package spread_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/spread"
	"umbel.dev/umbel/internal/metrics/store"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// network is how replicas reach each other, by their names.
type network struct {
	mu      sync.Mutex
	of      map[string]*store.Store
	away    map[string]bool
	taken   map[string]int // how many requests each took
	at      time.Time
	stopped map[string]func()
}

func newNetwork() *network {
	return &network{of: map[string]*store.Store{}, away: map[string]bool{}, taken: map[string]int{}, at: noon, stopped: map[string]func(){}}
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	to := n.of[r.URL.Host]
	if to == nil || n.away[r.URL.Host] {
		n.mu.Unlock()
		return nil, errors.New("it is away")
	}
	n.taken[r.URL.Host]++
	n.mu.Unlock()
	w := httptest.NewRecorder()
	to.Take(w, r)
	return w.Result(), nil
}

func (n *network) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

// alive names the replicas that are, but one.
func (n *network) alive(but string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(n.of)), func(name string) bool { return name == but || n.away[name] })
}

func (n *network) set(name string, away bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away[name] = away
}

func (n *network) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = n.at.Add(d)
}

// replica starts one whose folder is dir, until stop or the end of the test.
func (n *network) replica(t *testing.T, name, dir string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	sp := spread.New()
	kept, err := store.Open(store.Config{Dir: filepath.Join(dir, "metrics"), Limits: store.Limits{Rate: 1}, Spread: sp, Now: n.now, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.of[name] = kept
	n.mu.Unlock()
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		needs := spread.Needs{Dir: filepath.Join(dir, "replicas"), Alive: func() []string { return n.alive(name) }, To: n, Now: n.now, Log: log}
		if err := sp.Run(ctx, needs); err != nil {
			t.Error(err)
		}
	})
	n.stopped[name] = sync.OnceFunc(func() {
		stop()
		running.Wait()
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stopped[name])
}

// send has an agent send a sample to a replica.
func (n *network) send(t *testing.T, to, cluster, series string, value float64) {
	t.Helper()
	var b request.Builder
	b.Add([]request.Label{{Name: "__name__", Value: series}}, request.Counter, n.now().UnixMilli(), value)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(b.Take()))
	r.Header.Set("Content-Type", request.ContentType)
	r.Header.Set("Content-Encoding", request.ContentEncoding)
	w := httptest.NewRecorder()
	n.of[to].Write(w, r, v1alpha1.ClusterName(cluster))
	if w.Code != http.StatusNoContent {
		t.Fatalf("%s answered %d %s", to, w.Code, w.Body)
	}
}

// holds is what a replica has, as "SERIES: TIME=VALUE …", times in seconds from noon.
func (n *network) holds(t *testing.T, name string) string {
	t.Helper()
	q, err := n.of[name].Queryable().Querier(noon.Add(-100*time.Hour).UnixMilli(), noon.Add(100*time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	var found []string
	for set.Next() {
		line := set.At().Labels().String() + ":"
		for samples := set.At().Iterator(nil); samples.Next() == chunkenc.ValFloat; {
			at, value := samples.At()
			line += fmt.Sprintf(" %v=%v", time.UnixMilli(at).Sub(noon).Seconds(), value)
		}
		found = append(found, line)
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return strings.Join(found, "\n")
}

// await waits until a replica has something.
func (n *network) await(t *testing.T, name, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if got = n.holds(t, name); got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s holds\n%s", name, cmp.Diff(want, got))
		}
	}
}

// TestEachReplicaHasWhatOneWasSent, whichever that was, also what was sent while it was away, and while the one that had it was not there in between.
func TestEachReplicaHasWhatOneWasSent(t *testing.T) {
	n := newNetwork()
	dirs := map[string]string{}
	for _, name := range []string{"hub-0", "hub-1", "hub-2"} {
		dirs[name] = t.TempDir()
		n.replica(t, name, dirs[name])
	}
	n.send(t, "hub-0", "prod-eu", "a_total", 1)
	n.send(t, "hub-1", "prod-us", "a_total", 7)
	both := "{__name__=\"a_total\", cluster=\"prod-eu\"}: 0=1\n{__name__=\"a_total\", cluster=\"prod-us\"}: 0=7"
	for name := range n.of {
		n.await(t, name, both)
	}

	n.set("hub-2", true)
	for i := range 5 { // the budget of a cluster is spent where it sends
		n.pass(30 * time.Second)
		n.send(t, "hub-0", "prod-eu", "a_total", float64(i+2))
	}
	with := strings.Replace(both, "0=1", "0=1 30=2 60=3 90=4 120=5 150=6", 1)
	n.await(t, "hub-1", with)
	n.stopped["hub-0"]()
	n.replica(t, "hub-0", dirs["hub-0"])
	if got := n.holds(t, "hub-2"); got != both {
		t.Errorf("while it is away, hub-2 holds\n%s", got)
	}
	n.pass(time.Hour) // what comes later than others is taken
	n.send(t, "hub-1", "prod-us", "a_total", 8)
	n.set("hub-2", false)
	with = strings.Replace(with, "0=7", "0=7 3750=8", 1)
	for name := range n.of {
		n.await(t, name, with)
	}
	for name := range n.of {
		if got := n.of[name].Types()["a_total"]; name != "hub-0" && got != request.Counter { // which has started anew, and was told nothing since
			t.Errorf("%s has the type %v", name, got)
		}
	}
	// Each was sent what agents sent to the two others, and nothing of it again: hub-0 two requests, by hub-1.
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.taken["hub-0"] != 2 {
		t.Errorf("hub-0 took %d requests of others", n.taken["hub-0"])
	}
}

// TestAReplicaThatIsNoMore is forgotten after a day, with what waits for it; one that comes back within it is not.
func TestAReplicaThatIsNoMore(t *testing.T) {
	n := newNetwork()
	dir := t.TempDir()
	n.replica(t, "hub-0", dir)
	n.replica(t, "hub-1", t.TempDir())
	waits := func(want int) {
		t.Helper()
		found := -1
		for end := time.Now().Add(2 * time.Minute); found != want; time.Sleep(20 * time.Millisecond) {
			files, err := os.ReadDir(filepath.Join(dir, "replicas", "hub-1"))
			if found = len(files); err != nil {
				found = -1
			}
			if time.Now().After(end) {
				t.Fatalf("%d requests wait for hub-1, want %d", found, want)
			}
		}
	}
	waits(0)
	n.set("hub-1", true)
	n.send(t, "hub-0", "prod-eu", "a_total", 1)
	waits(1)
	n.pass(20 * time.Hour)
	n.send(t, "hub-0", "prod-eu", "a_total", 2)
	waits(2)
	n.pass(5 * time.Hour)
	waits(-1)
}

// TestRequestsThatAreNone are answered for good, and what is whole in them is kept.
func TestRequestsThatAreNone(t *testing.T) {
	n := newNetwork()
	n.replica(t, "hub-0", t.TempDir())
	for _, c := range []struct {
		reason, kind, body string
		code               int
	}{
		{"nothing", spread.ContentType, "", http.StatusNoContent},
		{"another type", "text/plain", "", http.StatusUnsupportedMediaType},
		{"a frame that is cut off", spread.ContentType, "\x07prod-eu\x05a", http.StatusBadRequest},
		{"a length without an end", spread.ContentType, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", http.StatusBadRequest},
		{"a name that is none", spread.ContentType, "\x03a/b\x00", http.StatusBadRequest},
		{"what another version may send", spread.ContentType, "\x07prod-eu\x05hello", http.StatusNoContent},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		n.of["hub-0"].Take(w, r)
		if w.Code != c.code {
			t.Errorf("%s: answered %d %s", c.reason, w.Code, w.Body)
		}
	}
	if got := n.holds(t, "hub-0"); got != "" {
		t.Errorf("it holds %s", got)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "\x07prod-eu\x05hello", "\x07prod-eu\x05a", "\x00\x00", "\x03a/b\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		bytes := 0
		err := spread.Read(raw, func(cluster v1alpha1.ClusterName, body []byte) error {
			if !v1alpha1.ValidClusterName(cluster) {
				t.Errorf("the name %q is given on", cluster)
			}
			bytes += len(cluster) + len(body)
			return nil
		})
		if bytes > len(raw) || err == nil && len(raw) > 0 && bytes == 0 {
			t.Errorf("%d bytes of %d, %v", bytes, len(raw), err)
		}
	})
}
