package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/metrics"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/queue"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/store"
	"umbel.dev/umbel/internal/session"
)

// kept is a store whose clock the test moves.
type kept struct {
	*store.Store
	api *query.API

	mu sync.Mutex
	at time.Time
}

func (k *kept) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at
}

func (k *kept) pass(d time.Duration) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = k.at.Add(d)
	return k.at
}

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// keep opens a store for what members send.
func (f *fleet) keep() *kept {
	f.t.Helper()
	k := &kept{at: noon}
	var err error
	k.Store, err = store.Open(store.Config{Dir: f.t.TempDir(), Now: k.now, Log: f.log()})
	f.must(err)
	f.t.Cleanup(func() { f.must(k.Close()) })
	k.api = query.New(query.Needs{Queryable: k.Queryable(), Types: k.Types, Now: k.now, Log: f.log()})
	f.measured.store, f.measured.api = k.Store, k.api
	f.measured.open.Store(true)
	return k
}

// emptyHanded is what an agent holds that holds nothing.
type emptyHanded struct{}

func (emptyHanded) Held() []*wire.PackageStatus                     { return nil }
func (emptyHanded) Store(context.Context, *wire.DesiredState) error { return nil }
func (emptyHanded) Changed() <-chan struct{}                        { return nil }
func (emptyHanded) Take() *wire.StatusReport                        { return nil }

// member is a cluster's session with the hub, at an address of it.
func (f *fleet) member(name v1alpha1.ClusterName, address string) *session.Client {
	f.t.Helper()
	f.name = name
	f.join()
	boot := f.boot
	boot.Address = address
	ring, err := identity.NewKeyring(identity.KeyringConfig{Home: identity.Folder(f.t.TempDir()), BootstrapCA: []byte(boot.CA), Log: f.log()})
	f.must(err)
	opened := make(chan struct{})
	once := sync.OnceFunc(func() { close(opened) })
	client, err := session.NewClient(session.ClientConfig{
		Bootstrap: boot, Keyring: ring, Kube: http.NotFoundHandler(), Log: f.log(),
		Reread: func() (v1alpha1.Bootstrap, error) { return boot, nil },
		Rand:   func() float64 { return 0.01 }, // attempts follow each other quickly
		Agent: session.AgentConfig{
			Version: "v1", Packages: emptyHanded{}, Log: f.log(), Opened: func(*wire.Welcome) { once() },
			CheckAPI: func(context.Context) (string, error) { return "v1.36.0", nil },
			Detach:   func(context.Context, *wire.Detach) error { return nil },
		},
	})
	f.must(err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = client.Run(ctx) // it ends with the test
	}()
	f.t.Cleanup(func() { cancel(); <-done })
	select {
	case <-opened:
	case <-time.After(time.Minute):
		f.t.Fatalf("%s did not come into session", name)
	}
	return client
}

// ask returns the values of the only series of an answer, by their times.
func (k *kept) ask(t *testing.T, promql string, from, to time.Time, step time.Duration) map[int64]string {
	t.Helper()
	form := url.Values{"query": {promql}, "start": {stamp(from)}, "end": {stamp(to)}, "step": {strconv.Itoa(int(step.Seconds()))}}
	w := httptest.NewRecorder()
	k.api.Query(w, httptest.NewRequest(http.MethodGet, query.Prefix+"query_range?"+form.Encode(), nil), nil)
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Values [][2]any } }
	}
	if err := json.NewDecoder(w.Body).Decode(&answer); err != nil || len(answer.Data.Result) > 1 {
		t.Fatalf("%s: %d series, %s, %v", promql, len(answer.Data.Result), answer.Error, err)
	}
	values := map[int64]string{}
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			values[int64(v[0].(float64))] = v[1].(string)
		}
	}
	return values
}

// one returns the value of the only series at a time; empty when there is none.
func (k *kept) one(t *testing.T, promql string) string {
	t.Helper()
	at := k.now()
	return k.ask(t, promql, at, at, time.Minute)[at.Unix()]
}

func stamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// cable is a way to the hub that can be cut.
type cable struct {
	net.Listener
	mu    sync.Mutex
	whole bool
	open  map[net.Conn]bool
}

// lay lays a cable to an address.
func lay(t *testing.T, to string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &cable{Listener: listener, whole: true, open: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); l.cut() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go l.join(in, to)
		}
	}()
	return l
}

func (l *cable) join(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	l.mu.Lock()
	whole := l.whole
	if whole {
		l.open[in], l.open[out] = true, true
	}
	l.mu.Unlock()
	if !whole {
		return
	}
	go func() { io.Copy(out, in); out.Close() }()
	io.Copy(in, out)
}

// cut ends what goes through the cable, and lets nothing through from then on.
func (l *cable) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = false
	for c := range l.open {
		c.Close()
	}
	l.open = map[net.Conn]bool{}
}

func (l *cable) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = true
}

// TestAPartitionLeavesNoGap: a cluster measures a counter every 30 seconds, and for ten minutes of them its way to the hub is cut, while another cluster goes on.
// Afterwards the counter's graph is a straight line without a gap. The minutes are those of the store's clock and of the samples; the session
// that breaks, the queue on the agent's disk and the way through the hub's gateway are the real ones.
func TestAPartitionLeavesNoGap(t *testing.T) {
	f := newFleet(t)
	k := f.keep()
	direct := f.member("there", f.address)
	way := lay(t, f.address)
	away := f.member("away", way.Addr().String())

	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	defer sending.Wait()
	defer cancel()
	measure := map[*session.Client]*queue.Queue{}
	for _, a := range []*session.Client{direct, away} {
		q, err := queue.Open(t.TempDir(), queue.DefaultSize, f.log())
		if err != nil {
			t.Fatal(err)
		}
		measure[a] = q
		sending.Go(func() { _ = q.Send(ctx, a.Content()) })
	}
	taken := func(a *session.Client) {
		t.Helper()
		f.eventually("the hub has taken what was measured", func() error {
			if n := measure[a].Len(); n > 0 {
				return fmt.Errorf("%d requests wait", n)
			}
			return nil
		})
	}
	const every, perRound = 30 * time.Second, 90
	for round := range 61 { // half an hour, and the cut from its 10th minute to its 20th
		switch round {
		case 20:
			taken(away)
			way.cut()
		case 40:
			if waits := measure[away].Len(); waits != 20 {
				t.Errorf("%d requests wait for the hub, want the 20 of ten minutes", waits)
			}
			way.mend()
			taken(away)
		}
		for _, q := range measure {
			var b request.Builder
			b.Add([]request.Label{{Name: "__name__", Value: "orders_total"}}, request.Counter, k.now().UnixMilli(), float64(perRound*round))
			if err := q.Put(b.Take()); err != nil {
				t.Fatal(err)
			}
		}
		taken(direct)
		if round < 60 {
			k.pass(every)
		}
	}
	taken(away)
	for _, cluster := range []string{"there", "away"} {
		values := k.ask(t, `round(rate(orders_total{cluster="`+cluster+`"}[2m]), 0.001)`, noon.Add(2*time.Minute), noon.Add(30*time.Minute), every)
		for at := noon.Add(2 * time.Minute); !at.After(noon.Add(30 * time.Minute)); at = at.Add(every) {
			if got := values[at.Unix()]; got != "3" { // 90 in 30 seconds
				t.Errorf("%s: %s after noon its rate is %q, want 3", cluster, at.Sub(noon), got)
			}
		}
		if n := k.one(t, `count_over_time(orders_total{cluster="`+cluster+`"}[31m])`); n != "61" {
			t.Errorf("%s: %s samples are kept, want 61", cluster, n)
		}
	}
}

// TestWhoFloodsIsLimitedAlone: a cluster sends what it can of what it may not: labels that are another's and the hub's, series without end, samples of next year.
// Beside it another cluster sends its own, and each of its requests is taken. All goes through real sessions and the gateway. Of 600,000 series 50,000 are
// kept, and no more than 5,000 samples a second are even read, so that ten million take more than half an hour, and keep nothing more.
func TestWhoFloodsIsLimitedAlone(t *testing.T) {
	f := newFleet(t)
	k := f.keep()
	bad, good := f.member("bad", f.address), f.member("good", f.address)
	send := func(a *session.Client, b *request.Builder) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://hub"+metrics.WritePath, bytes.NewReader(b.Take()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", request.ContentType)
		r.Header.Set("Content-Encoding", request.ContentEncoding)
		answer, err := a.Content().RoundTrip(r)
		if err != nil {
			t.Error(err)
			return 0, ""
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return answer.StatusCode, string(text)
	}
	one := func(a *session.Client, at time.Time, value float64, pairs ...string) (int, string) {
		t.Helper()
		var b request.Builder
		var set []request.Label
		for i := 0; i < len(pairs); i += 2 {
			set = append(set, request.Label{Name: pairs[i], Value: pairs[i+1]})
		}
		b.Add(set, request.Gauge, at.UnixMilli(), value)
		return send(a, &b)
	}
	expect := func(what string, code int, text string, want int, says string) {
		t.Helper()
		if code != want || !strings.Contains(text, says) {
			t.Errorf("%s: answered %d %q, want %d %q", what, code, text, want, says)
		}
	}
	code, text := one(bad, k.now(), 7, "__name__", "up", "cluster", "good")
	expect("another's label", code, text, 204, "")
	code, text = one(bad, k.now(), 1, "__name__", "umbel_cluster_connected", "cluster", "good")
	expect("what the hub says", code, text, 400, "its name is for what the hub says itself")
	code, text = one(bad, k.now().AddDate(1, 0, 0), 1, "__name__", "up")
	expect("a sample of next year", code, text, 400, "it is of a later time than now")

	// The good cluster goes on as long as the other sends.
	stop, counted := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				counted <- n
				return
			default:
			}
			n++
			code, text := one(good, noon.Add(time.Duration(n)*time.Millisecond), float64(n), "__name__", "up")
			if code != http.StatusNoContent {
				t.Errorf("the good cluster's request %d: answered %d %s", n, code, text)
			}
		}
	}()
	const perRequest = 5000
	series, waits := 0, 0
	flood := func() int {
		var b request.Builder
		for range perRequest {
			b.Add([]request.Label{{Name: "__name__", Value: "flood"}, {Name: "i", Value: strconv.Itoa(series)}}, request.Gauge, noon.UnixMilli(), 1)
			series++
		}
		code, _ := send(bad, &b)
		return code
	}
	for range 2 { // minutes: each lets in what a cluster may send in one
		for flood() != http.StatusTooManyRequests {
		}
		series -= perRequest // it was not even read
		for range 10 {
			if flood() == http.StatusTooManyRequests {
				waits++
			}
			series -= perRequest
		}
		k.pass(time.Minute)
	}
	close(stop)
	n := <-counted
	if series < 590_000 || series > 600_000 || waits != 20 || n < 10 {
		t.Errorf("%d series were read, want what two minutes let in; %d requests waited of 20; the good cluster sent %d", series, waits, n)
	}
	if got := k.one(t, `count({cluster="bad"})`); got != "50000" {
		t.Errorf("the bad cluster has %s series, want its limit", got)
	}
	if got := k.one(t, `count({cluster="good"})`); got != "1" {
		t.Errorf("of the good cluster %s series are there, want its own", got)
	}
	if got := k.one(t, `count_over_time(up{cluster="good"}[5m])`); got != strconv.Itoa(n) {
		t.Errorf("%s samples of the good cluster are kept, want %d", got, n)
	}
	if got := k.one(t, `count(umbel_cluster_connected)`); got != "" {
		t.Errorf("what the hub alone says is there: %s", got)
	}
	code, text = one(good, noon.Add(-3*time.Hour), 1, "__name__", "filled_in")
	expect("what the good cluster measured three hours before", code, text, 204, "")
}
