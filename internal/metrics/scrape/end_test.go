package scrape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/value"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/request"
)

// line is a way to an API server that can be cut.
type line struct {
	http.RoundTripper
	cut *atomic.Bool
}

func (l line) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.cut.Load() {
		return nil, errors.New("the line is cut")
	}
	return l.RoundTripper.RoundTrip(r)
}

// TestWhatEndsIsMarked: a series that the round before had, and this one has not, is marked as ended, as Prometheus' own scrape does: of a pod that is gone all
// of them, of one that does not answer all but that it is not up. Who is not known to be gone, because nobody can be asked who is there, is not up; when the
// agent ends, nothing does; when nothing is to be measured any more, everything.
func TestWhatEndsIsMarked(t *testing.T) {
	var cut atomic.Bool
	config := kubetest.Start(t)
	config.Wrap(func(under http.RoundTripper) http.RoundTripper { return line{under, &cut} })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := forPods(t, config, client)
	var silent atomic.Bool
	var kinds atomic.Int64
	kinds.Store(2)
	address, _ := serves(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if silent.Load() {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "# TYPE orders_total counter\n")
		for i := range kinds.Load() {
			fmt.Fprintf(w, "orders_total{kind=\"%d\"} 3\n", i)
		}
	}))
	asks := map[string]string{"prometheus.io/scrape": "true"}
	running(t, client, namespace, "stays", asks, address)
	leave := running(t, client, namespace, "leaves", asks, address)

	var bodies [][]byte
	var passed atomic.Int64
	s, err := New(Needs{
		Config: config, Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Now: func() time.Time { return noon.Add(time.Duration(passed.Add(1)) * time.Second) },
		Put: func(body []byte) error { bodies = append(bodies, body); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]int64{}
	// said are what was said of the two pods since it was asked last, each series once and later than before.
	said := func() map[string]string {
		t.Helper()
		found := map[string]string{}
		for _, body := range bodies {
			if err := request.Decode(body, func(series *request.Series) error {
				of := map[string]string{}
				for _, l := range series.Labels {
					of[l.Name] = l.Value
				}
				if of["__name__"] == "umbel_pods" && of["phase"] == "Running" && of["namespace"] == namespace {
					of["__name__"], of["pod"] = "pods", "all"
				}
				if of["namespace"] != namespace || of["__name__"] != "up" && of["__name__"] != "orders_total" && of["pod"] != "all" {
					return nil
				}
				key, sample := strings.TrimSuffix(of["pod"]+" "+of["__name__"]+" "+of["kind"], " "), series.Samples[0]
				if found[key] != "" || sample.Millis <= last[key] {
					t.Errorf("%s is said twice, or of no later time", key)
				}
				last[key], found[key] = sample.Millis, fmt.Sprint(sample.Value)
				if value.IsStaleNaN(sample.Value) {
					found[key] = "end"
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		bodies = nil
		return found
	}
	round := func(reason string, want map[string]string) {
		t.Helper()
		if err := s.Round(t.Context(), v1alpha1.MetricsStandard); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, said()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	round("both answer", map[string]string{
		"stays up": "1", "stays orders_total 0": "3", "stays orders_total 1": "3", "leaves up": "1", "leaves orders_total 0": "3", "leaves orders_total 1": "3", "all pods": "2",
	})
	leave()
	kinds.Store(1)
	round("one is gone, and one of the other's series", map[string]string{
		"stays up": "1", "stays orders_total 0": "3", "stays orders_total 1": "end", "leaves up": "end", "leaves orders_total 0": "end", "leaves orders_total 1": "end", "all pods": "1",
	})
	silent.Store(true)
	round("it does not answer", map[string]string{"stays up": "0", "stays orders_total 0": "end", "all pods": "1"})
	silent.Store(false)
	round("it does again", map[string]string{"stays up": "1", "stays orders_total 0": "3", "all pods": "1"})
	cut.Store(true)
	round("nobody knows which pods there are", map[string]string{"stays up": "0", "stays orders_total 0": "end", "all pods": "end"})
	round("… for longer", map[string]string{"stays up": "0"})
	cut.Store(false)
	round("the API server is back", map[string]string{"stays up": "1", "stays orders_total 0": "3", "all pods": "1"})

	ending, end := context.WithCancel(t.Context())
	end()
	if err := s.Round(ending, v1alpha1.MetricsStandard); !errors.Is(err, context.Canceled) {
		t.Errorf("a round of an agent that ends: %v", err)
	}
	if diff := cmp.Diff(map[string]string{}, said()); diff != "" {
		t.Errorf("the agent ends (-want +got):\n%s", diff)
	}
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"stays up": "end", "stays orders_total 0": "end", "all pods": "end"}, said()); diff != "" {
		t.Errorf("nothing is measured any more (-want +got):\n%s", diff)
	}
	if err := s.end(); err != nil || len(bodies) > 0 {
		t.Errorf("what has ended ends again: %v", err)
	}
}
