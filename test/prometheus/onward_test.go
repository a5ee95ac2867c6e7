package prometheus

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/api"
	prom "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/onward"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/settings"
	"umbel.dev/umbel/internal/metrics/store"
	"umbel.dev/umbel/internal/programtest"
)

// start starts a Prometheus on a folder, which takes what is written to it, and returns how it is asked, and what ends it.
func start(t *testing.T, dir, address string) (prom.API, func()) {
	t.Helper()
	program, err := programtest.Path("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("storage: {tsdb: {out_of_order_time_window: 24h}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--web.enable-remote-write-receiver", "--log.level=warn")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end := func() {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	client, err := api.NewClient(api.Config{Address: "http://" + address})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "Prometheus", func() bool {
		answer, err := http.Get("http://" + address + "/-/ready")
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	return prom.NewAPI(client), end
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestARealPrometheusHasWhatTheHubKept: what agents sent, with the label cluster; what came while it was away, and what an agent filled in of the time before.
func TestARealPrometheusHasWhatTheHubKept(t *testing.T) {
	address := programtest.FreeAddress(t)
	dir := t.TempDir()
	asked, end := start(t, dir, address)

	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	said, err := settings.Read(map[string][]byte{"prometheus.yml": []byte("remote_write: [{url: 'http://" + address + "/api/v1/write'}]")})
	if err != nil {
		t.Fatal(err)
	}
	on := onward.New(t.TempDir(), quiet)
	if err := on.Apply(said); err != nil {
		t.Fatal(err)
	}
	kept, err := store.Open(store.Config{Dir: t.TempDir(), Now: time.Now, Log: quiet, Onward: on})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- on.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		kept.Close()
	})
	now := time.Now().Truncate(time.Second)
	send := func(cluster v1alpha1.ClusterName, ago time.Duration, v float64) {
		t.Helper()
		var b request.Builder
		b.Add([]request.Label{{Name: "__name__", Value: "node_memory_working_set_bytes"}, {Name: "cluster", Value: "forged"}, {Name: "instance", Value: "n1"}}, request.Gauge, now.Add(-ago).UnixMilli(), v)
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(b.Take()))
		r.Header.Set("Content-Type", request.ContentType)
		r.Header.Set("Content-Encoding", request.ContentEncoding)
		w := httptest.NewRecorder()
		if kept.Write(w, r, cluster); w.Code != http.StatusNoContent {
			t.Fatal(w.Code, w.Body)
		}
	}
	values := func() map[string]string {
		result, _, err := asked.QueryRange(t.Context(), "node_memory_working_set_bytes", prom.Range{Start: now.Add(-30 * time.Minute), End: now, Step: 10 * time.Minute})
		if err != nil {
			return map[string]string{"error": err.Error()}
		}
		got := map[string]string{}
		for _, series := range result.(model.Matrix) {
			text := ""
			for _, p := range series.Values {
				text += fmt.Sprintf("%v@-%v ", p.Value, now.Sub(p.Timestamp.Time()))
			}
			got[series.Metric.String()] = text
		}
		return got
	}
	is := func(want map[string]string) {
		t.Helper()
		var got map[string]string
		begun := time.Now()
		await(t, "what was written on", func() bool {
			got = values()
			return cmp.Equal(want, got) || time.Since(begun) > 50*time.Second
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Prometheus has (-want +got):\n%s", diff)
		}
	}
	const series = `node_memory_working_set_bytes{cluster="%s", exported_cluster="forged", instance="n1"}`
	eu, us := fmt.Sprintf(series, "prod-eu"), fmt.Sprintf(series, "prod-us")
	send("prod-eu", 10*time.Minute, 1)
	is(map[string]string{eu: "1@-10m0s "})
	end() // Prometheus is away, and the hub goes on
	send("prod-eu", 0, 2)
	send("prod-us", 30*time.Minute, 3) // one that was away fills in what it measured
	asked, _ = start(t, dir, address)
	is(map[string]string{eu: "1@-10m0s 2@-0s ", us: "3@-30m0s "})
	answers(t, kept, address, now)
	send("prod-eu", -time.Second, math.Float64frombits(value.StaleNaN)) // it has ended
	await(t, "the end of a series", func() bool {
		got, _, err := asked.Query(t.Context(), "node_memory_working_set_bytes", now.Add(2*time.Second))
		return err == nil && len(got.(model.Vector)) == 0
	})
	if got, _, err := asked.Query(t.Context(), "node_memory_working_set_bytes", now); err != nil || len(got.(model.Vector)) != 1 {
		t.Errorf("before its end it is %v: %v", got, err)
	}
}

// answers: the same Prometheus answers queries in the hub's place, and who may see one cluster is told of that one alone.
func answers(t *testing.T, kept *store.Store, address string, now time.Time) {
	t.Helper()
	said, err := settings.Read(map[string][]byte{"backend.yml": []byte("url: http://" + address)})
	if err != nil {
		t.Fatal(err)
	}
	hub := query.New(query.Needs{Queryable: kept.Queryable(), Types: kept.Types, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err := hub.Apply(said); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		clusters []v1alpha1.ClusterName
		want     string
	}{{nil, "2"}, {[]v1alpha1.ClusterName{"prod-us"}, "1"}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { hub.Query(w, r, c.clusters) }))
		t.Cleanup(server.Close)
		client, err := api.NewClient(api.Config{Address: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := prom.NewAPI(client).Query(t.Context(), `count(count by (cluster) (last_over_time(node_memory_working_set_bytes{cluster=~"prod-.*"}[1h])))`, now)
		if err != nil {
			t.Fatal(err)
		}
		if n := got.(model.Vector)[0].Value.String(); n != c.want {
			t.Errorf("of %v there are %s clusters, want %s", c.clusters, n, c.want)
		}
	}
}
