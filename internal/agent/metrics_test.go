package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/store"
)

// measured is where a hub keeps what its agents measure, once a test has opened it. It can be away.
type measured struct {
	store *store.Store
	api   *query.API
	open  atomic.Bool
	away  atomic.Bool
	lost  atomic.Int64 // answers that do not arrive, of requests that are kept
}

// Write implements gateway.Metrics.
func (m *measured) Write(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName) {
	if !m.open.Load() || m.away.Load() {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	if m.lost.Add(-1) >= 0 {
		m.store.Write(httptest.NewRecorder(), r, cluster)
		panic(http.ErrAbortHandler)
	}
	m.store.Write(w, r, cluster)
}

// Take implements gateway.Metrics: the hub of these tests is one process, and has no other replica to hear from.
func (m *measured) Take(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "this hub has no replicas", http.StatusNotFound)
}

// Query implements gateway.Metrics.
func (m *measured) Query(w http.ResponseWriter, r *http.Request, clusters []v1alpha1.ClusterName) {
	if m.open.Load() {
		m.api.Query(w, r, clusters)
	}
}

func (f *fleet) openMetrics() {
	f.t.Helper()
	kept, err := store.Open(store.Config{Dir: filepath.Join(f.t.TempDir(), "metrics"), Now: time.Now, Log: f.log()})
	f.must(err)
	f.t.Cleanup(func() { f.kill(); f.must(kept.Close()) })
	f.measured.store = kept
	f.measured.api = query.New(query.Needs{Queryable: kept.Queryable(), Types: kept.Types, Now: time.Now, Log: f.log()})
	f.measured.open.Store(true)
}

// ask asks the hub at its door, as its administrator, and returns the value of the only series of the answer.
func (f *fleet) ask(promql string) (float64, error) {
	config := rest.AnonymousClientConfig(f.api)
	config.CertData, config.KeyData, config.CertFile, config.KeyFile = f.api.CertData, f.api.KeyData, f.api.CertFile, f.api.KeyFile
	config.CAData, config.CAFile = f.authority.CAs(), ""
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return 0, err
	}
	defer web.CloseIdleConnections()
	response, err := web.PostForm("https://"+f.address+"/api/v1/query", url.Values{"query": {promql}})
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result []struct{ Value []any } }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, fmt.Errorf("%s: %w", response.Status, err)
	}
	if len(answer.Data.Result) != 1 || len(answer.Data.Result[0].Value) != 2 {
		return 0, fmt.Errorf("%s has %d series: %s %s", promql, len(answer.Data.Result), response.Status, answer.Error)
	}
	return strconv.ParseFloat(answer.Data.Result[0].Value[1].(string), 64)
}

// waits is how many requests wait for the hub on the agent's disk.
func (f *fleet) waits() int {
	f.t.Helper()
	files, err := os.ReadDir(filepath.Join(f.dir, metricsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file.Name(), ".request") && !strings.HasPrefix(file.Name(), ".") {
			n++
		}
	}
	return n
}

func (f *fleet) measure(profile v1alpha1.MetricsProfile) {
	f.t.Helper()
	f.change(func(m *v1alpha1.MemberCluster) { m.Spec.Metrics = &v1alpha1.MemberMetrics{Profile: profile} })
}

// TestAMemberIsMeasured goes the whole way: what somebody writes into the MemberCluster reaches the agent, what the agent measures of a real
// API server reaches the hub, and whoever may asks the hub in PromQL. While the hub takes nothing, all is kept, also when the
// agent is started anew; an answer that is lost costs nothing and doubles nothing.
func TestAMemberIsMeasured(t *testing.T) {
	f := newFleet(t)
	f.openMetrics()
	f.measures = time.Second
	f.join()
	f.start()
	f.ready()
	if _, err := f.ask(`up`); err == nil {
		t.Error("it is measured, and nobody said so")
	}
	f.measure(v1alpha1.MetricsMinimal)
	mine := `{cluster="` + string(f.name) + `",job="apiserver"}`
	samples := `count_over_time(up` + mine + `[1h])`
	f.eventually("the hub knows what the agent measured", func() error {
		n, err := f.ask(`sum(apiserver_request_total` + mine + `)`)
		if err == nil && n < 10 {
			return fmt.Errorf("the API server says that it was asked %v times", n)
		}
		return err
	})

	f.measured.away.Store(true)
	var before float64
	f.eventually("the agent keeps what the hub does not take", func() (err error) {
		if n := f.waits(); n < 2 {
			return fmt.Errorf("%d requests wait", n)
		}
		before, err = f.ask(samples)
		return err
	})
	f.kill()
	kept := f.waits()
	f.start()
	f.eventually("the agent goes on after its start", func() error {
		if n := f.waits(); n < kept+1 {
			return fmt.Errorf("%d requests wait, and %d did before", n, kept)
		}
		return nil
	})
	waited := f.waits()
	f.measured.lost.Store(2)
	f.measured.away.Store(false)
	f.eventually("what was kept is with the hub", func() error {
		n, err := f.ask(samples)
		if err == nil && (n < before+float64(waited) || f.waits() > 3) {
			return fmt.Errorf("%v samples are there, %v were before, %d waited and %d wait", n, before, waited, f.waits())
		}
		return err
	})
	if resets, err := f.ask(`sum(resets(apiserver_request_total` + mine + `[1h]))`); err != nil || resets != 0 {
		t.Errorf("a counter that only goes up went down %v times: %v", resets, err)
	}
	if others, err := f.ask(`count(up{cluster!="` + string(f.name) + `"})`); err == nil {
		t.Errorf("%v series are of other clusters", others)
	}

	f.measure(v1alpha1.MetricsOff)
	f.eventually("the agent hears that nothing is to be measured", func() error {
		raw, err := os.ReadFile(filepath.Join(f.dir, metricsDir, "profile"))
		if err == nil && string(raw) != string(v1alpha1.MetricsOff) {
			return fmt.Errorf("it is to measure %s", raw)
		}
		return err
	})
	f.eventually("nothing of it is found any more", func() error {
		if n, err := f.ask(`count({cluster="` + string(f.name) + `"})`); err == nil {
			return fmt.Errorf("%v series are found of a cluster that is not measured any more", n)
		}
		return nil
	})
	if n, err := f.ask(samples); err != nil || n < before+float64(waited) {
		t.Errorf("of what was measured before %v samples are there, want %v: %v", n, before+float64(waited), err)
	}
}

// TestMetricsThatCannotBeOpened: an agent whose folder of metrics is none is ready all the same, and says so.
func TestMetricsThatCannotBeOpened(t *testing.T) {
	f := newFleet(t)
	f.must(os.WriteFile(filepath.Join(f.dir, metricsDir), nil, 0o600))
	f.join()
	f.start()
	f.ready()
	f.measure(v1alpha1.MetricsMinimal)
	f.kill()
	f.must(os.Remove(filepath.Join(f.dir, metricsDir)))
	f.start()
	f.eventually("the next start measures", func() error {
		if f.waits() == 0 {
			return errors.New("nothing was measured")
		}
		return nil
	})
}
