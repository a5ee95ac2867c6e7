// Package measuredtest has a hub for tests of what asks it for what the fleet measured: the hub's own store and the way it answers, without the
// door, which says who may ask.
package measuredtest

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/store"
)

// Told says who may ask.
type Told int

const (
	// Everybody is answered.
	Everybody Told = iota
	// ByName: who asks for all is refused, and who names clusters is answered.
	ByName
)

// Add adds a gauge: its value, its name, and pairs of labels.
type Add func(value float64, name string, pairs ...string)

// Hub is one at a time that has kept what agents measured each minute of the last minutes: prod-eu, prod-us, which has half of it, and
// of-others with a quarter. says adds what a cluster with that share measured so long ago; seconds is for counters.
func Hub(t *testing.T, at time.Time, minutes int, told Told, says func(add Add, share, seconds float64)) *measured.Asker {
	t.Helper()
	quiet, now := slog.New(slog.DiscardHandler), func() time.Time { return at }
	kept, err := store.Open(store.Config{Dir: t.TempDir(), Now: now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kept.Close() })
	for share, cluster := range map[float64]v1alpha1.ClusterName{1: "prod-eu", 0.5: "prod-us", 0.25: "of-others"} {
		var b request.Builder
		for minute := range minutes + 1 {
			ago := time.Duration(minutes-minute) * time.Minute
			says(func(value float64, name string, pairs ...string) {
				set := []request.Label{{Name: "__name__", Value: name}}
				for i := 0; i < len(pairs); i += 2 {
					set = append(set, request.Label{Name: pairs[i], Value: pairs[i+1]})
				}
				b.Add(set, request.Gauge, at.Add(-ago).UnixMilli(), value)
			}, share, (time.Hour - ago).Seconds())
		}
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(b.Take()))
		r.Header.Set("Content-Type", request.ContentType)
		r.Header.Set("Content-Encoding", request.ContentEncoding)
		w := httptest.NewRecorder()
		if kept.Write(w, r, cluster); w.Code != http.StatusNoContent {
			t.Fatal(w.Code, w.Body)
		}
	}
	api := query.New(query.Needs{Queryable: kept.Queryable(), Types: kept.Types, Now: now, Log: quiet})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var clusters []v1alpha1.ClusterName
		for _, name := range r.URL.Query()["cluster"] {
			clusters = append(clusters, v1alpha1.ClusterName(name))
		}
		if len(clusters) == 0 && told == ByName {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","code":403,"message":"no"}`)
			return
		}
		api.Query(w, r, clusters)
	}))
	t.Cleanup(server.Close)
	return measured.At(server.Client(), server.URL)
}
