package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/metrics"
	"umbel.dev/umbel/internal/metrics/request"
	agentsession "umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	goalIngest = 400_000 // samples per second and core of the hub
	// names is how many metrics a cluster has: its series are spread over them.
	names = 20
	// flood is how many rounds are sent as fast as they are taken, and steady how long the fleet then sends as one does.
	flood, steady = 15, 2 * time.Minute
	// spacing is between two samples of a series.
	spacing = time.Minute
	// senders is how many clusters send at once.
	senders = 16
)

// sender is a cluster that is in session, and sends what a test makes up.
type sender struct {
	client *agentsession.Client
	web    *http.Client
}

// measuredFleet is a hub with clusters that send samples.
type measuredFleet struct {
	clusters, series int
	profiles         string
	fleet            *rig.Fleet
	hub              *hubProcess
	senders          []sender
	sets             [][]request.Label // the series of a cluster, the same of each
	report           *report.Report
	bytes            atomic.Int64 // of the requests
	opened           atomic.Int64 // sessions: who waits for one waits for its answer
	odd              sync.Map     // answers that are not 204
}

// measureMetrics measures what a hub costs that keeps what so many clusters measure.
func measureMetrics(ctx context.Context, clusters, series int, profiles string) (err error) {
	home, err := os.MkdirTemp("", "umbel-metrics-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	fleet := &rig.Fleet{Home: home, Log: os.Stderr}
	m := &measuredFleet{
		clusters: clusters, series: series, profiles: profiles, fleet: fleet, hub: &hubProcess{fleet: fleet, profiled: profiles != ""},
		report: report.New("metrics"), sets: seriesOf(series),
	}
	ctx, end := context.WithCancel(ctx)
	var inSession sync.WaitGroup
	defer func() {
		end()
		inSession.Wait()
		if err != nil {
			err = fmt.Errorf("%w\nthe hub's log ends:\n%s", err, m.hub.lastWords())
		}
		err = errors.Join(err, m.hub.stop())
	}()
	if err := errors.Join(os.MkdirAll(fleet.Repository(), 0o755), m.hub.start(ctx)); err != nil {
		return err
	}
	if err := m.join(ctx, &inSession); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{m.ingest, m.query, m.steady} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	m.odd.Range(func(why, n any) bool {
		err = errors.Join(err, fmt.Errorf("%d requests were answered %s", n.(*atomic.Int64).Load(), why))
		return true
	})
	return errors.Join(err, m.report.Write())
}

// seriesOf makes up the series of a cluster: counters of pods, with the labels that those have.
func seriesOf(n int) (sets [][]request.Label) {
	for i := range n {
		pod := fmt.Sprintf("web-7d9c5b6f4-%05d", i/names)
		sets = append(sets, []request.Label{
			{Name: "__name__", Value: fmt.Sprintf("bench_%02d_total", i%names)}, {Name: "container", Value: "web"}, {Name: "instance", Value: fmt.Sprintf("node-%d", i%7)},
			{Name: "job", Value: "cadvisor"}, {Name: "namespace", Value: fmt.Sprintf("team-%d", i/names%5)}, {Name: "pod", Value: pod},
		})
	}
	return sets
}

// idle is an agent that holds nothing.
type idle struct{}

func (idle) Held() []*wire.PackageStatus                       { return nil }
func (idle) Store(context.Context, *wire.DesiredState) error   { return nil }
func (idle) Changed() <-chan struct{}                          { return nil }
func (idle) Take() *wire.StatusReport                          { return nil }
func (idle) check(context.Context) (version string, err error) { return "v1.36.0", nil }

// join makes the clusters members, and returns when all are in session.
func (m *measuredFleet) join(ctx context.Context, running *sync.WaitGroup) error {
	api, err := m.fleet.Hub()
	if err != nil {
		return err
	}
	boots := make([]v1alpha1.Bootstrap, m.clusters)
	err = register(ctx, api, m.clusters, func(i int, boot v1alpha1.Bootstrap) error { boots[i] = boot; return nil })
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	opened := make(chan struct{}, m.clusters)
	for i, boot := range boots {
		dir := filepath.Join(m.fleet.Home, "agents", strconv.Itoa(i))
		ring, err := identity.NewKeyring(identity.KeyringConfig{Home: identity.Folder(dir), BootstrapCA: []byte(boot.CA), Log: quiet})
		if err != nil {
			return err
		}
		first := sync.OnceFunc(func() { opened <- struct{}{} })
		client, err := agentsession.NewClient(agentsession.ClientConfig{
			Bootstrap: boot, Keyring: ring, Kube: http.NotFoundHandler(), Log: quiet,
			Reread: func() (v1alpha1.Bootstrap, error) { return boot, nil },
			Agent: agentsession.AgentConfig{
				Version: "bench", Packages: idle{}, CheckAPI: idle{}.check, Log: quiet, Opened: func(*wire.Welcome) { m.opened.Add(1); first() },
				Detach: func(context.Context, *wire.Detach) error { return nil },
			},
		})
		if err != nil {
			return err
		}
		m.senders = append(m.senders, sender{client, &http.Client{Transport: client.Content()}})
		running.Go(func() { _ = client.Run(ctx) }) // it ends with the measuring
	}
	for range boots {
		select {
		case <-opened:
		case <-time.After(5 * time.Minute):
			return errors.New("not all clusters came into session")
		}
	}
	return nil
}

// send sends a sample of each series of a cluster, and returns how long the answer took. Who is told to come again does.
func (m *measuredFleet) send(ctx context.Context, cluster int, at time.Time, value float64) (time.Duration, error) {
	var b request.Builder
	for _, set := range m.sets {
		b.Add(set, request.Counter, at.UnixMilli(), value)
	}
	body := b.Take()
	m.bytes.Add(int64(len(body)))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://hub"+metrics.WritePath, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", request.ContentType)
	r.Header.Set("Content-Encoding", request.ContentEncoding)
	began := time.Now()
	answer, err := m.senders[cluster].web.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusNoContent {
		n, _ := m.odd.LoadOrStore(answer.Status+": "+string(text), &atomic.Int64{})
		n.(*atomic.Int64).Add(1)
	}
	return time.Since(began), err
}

// round sends a sample of each series of each cluster, as fast as they are taken.
func (m *measuredFleet) round(ctx context.Context, at time.Time, value float64) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(senders)
	for cluster := range m.senders {
		group.Go(func() error {
			_, err := m.send(ctx, cluster, at, value)
			return err
		})
	}
	return group.Wait()
}

func (m *measuredFleet) samples() float64 { return float64(m.clusters * m.series) }

// ingest measures how fast samples are taken, of series that are new and of those that are not.
func (m *measuredFleet) ingest(ctx context.Context) error {
	before, err := usageOf(m.hub.cmd.Process.Pid)
	if err != nil {
		return err
	}
	first := time.Now().Add(-flood * spacing)
	if err := m.round(ctx, first, 0); err != nil {
		return err
	}
	filled, err := usageOf(m.hub.cmd.Process.Pid)
	if err != nil {
		return err
	}
	m.report.Higher("samples of new series, per second of a core of the hub", m.samples()/(filled.cpu-before.cpu), "1/s", 0)
	var profiled errgroup.Group
	profiled.Go(func() error { return m.hub.profile(m.profiles, "metrics-cpu.pb.gz", "profile?seconds=15") })
	began, sent := time.Now(), m.bytes.Load()
	for i := 1; i < flood; i++ {
		if err := m.round(ctx, first.Add(time.Duration(i)*spacing), float64(60*i)); err != nil {
			return err
		}
	}
	took := time.Since(began).Seconds()
	after, err := usageOf(m.hub.cmd.Process.Pid)
	if err != nil {
		return err
	}
	taken := m.samples() * (flood - 1)
	m.report.Higher("samples, per second of a core of the hub", taken/(after.cpu-filled.cpu), "1/s", goalIngest)
	m.report.Higher("samples, per second, hub and senders on this machine", taken/took, "1/s", 0)
	m.report.Lower("bytes of a sample on the way", float64(m.bytes.Load()-sent)/taken, "B", 0)
	m.report.Lower("memory of the hub for 1,000 series with "+strconv.Itoa(flood)+" samples each, RSS", (after.rss-before.rss)*1024/(m.samples()/1000), "KiB", 0)
	return errors.Join(profiled.Wait(), m.hub.profile(m.profiles, "metrics-heap.pb.gz", "heap?gc=1"))
}

// query measures what people ask, at the hub's door.
func (m *measuredFleet) query(ctx context.Context) error {
	web, at, err := m.fleet.Door()
	if err != nil {
		return err
	}
	door := door{web, at + "/api/v1/"}
	now := time.Now()
	graph := url.Values{"start": {stamp(now.Add(-flood * spacing))}, "end": {stamp(now)}, "step": {"60"}}
	for _, q := range []struct {
		what, path, promql string
		form               url.Values
		times              int
	}{
		{"a graph of one cluster, by namespace", "query_range", `sum by (namespace) (rate(bench_00_total{cluster="` + string(clusterName(0)) + `"}[5m]))`, graph, 10},
		{"one metric of all clusters, by cluster", "query", `sum by (cluster) (rate(bench_00_total[5m]))`, url.Values{}, 5},
		{"the 10 clusters with the most of it", "query", `topk(10, sum by (cluster) (bench_00_total))`, url.Values{}, 5},
		{"the sum of every series", "query", `sum({__name__=~"bench_.*"})`, url.Values{}, 3},
	} {
		q.form.Set("query", q.promql)
		var times []time.Duration
		for range q.times {
			began := time.Now()
			if err := door.ask(ctx, q.path, q.form); err != nil {
				return fmt.Errorf("%s: %w", q.promql, err)
			}
			times = append(times, time.Since(began))
		}
		m.report.Lower("query: "+q.what+", p50", report.Percentile(times, 0.5), "ms", 0)
	}
	return nil
}

func stamp(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// door is where people ask.
type door struct {
	web *http.Client
	url string
}

// ask asks, and wants an answer with something in it.
func (d door) ask(ctx context.Context, path string, form url.Values) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := d.web.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var said struct {
		Error string
		Data  struct{ Result []any }
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		return fmt.Errorf("%s: %w", answer.Status, err)
	}
	if len(said.Data.Result) == 0 {
		return fmt.Errorf("%s, nothing is found: %s", answer.Status, said.Error)
	}
	return nil
}

// slowAnswer is how long an answer takes of which it is kept what the hub waited for, where it is profiled.
const slowAnswer = 2 * time.Second

// slow keeps what all that runs in the hub waits for.
func (m *measuredFleet) slow(at time.Time) {
	name := "metrics-slow-" + at.Format("150405") + ".txt"
	if err := m.hub.profile(m.profiles, name, "goroutine?debug=2"); err != nil {
		fmt.Fprintf(os.Stderr, "what the hub waits for is not known: %v\n", err)
	}
}

// steady measures what it costs that each cluster sends all its series once in spacing, each at a moment of its own.
func (m *measuredFleet) steady(ctx context.Context) error {
	before, err := usageOf(m.hub.cmd.Process.Pid)
	if err != nil {
		return err
	}
	began, sent, opened := time.Now(), m.bytes.Load(), m.opened.Load()
	var mu sync.Mutex
	var times []time.Duration
	group, ctx := errgroup.WithContext(ctx)
	for cluster := range m.senders {
		group.Go(func() error {
			next := time.NewTimer(spacing * time.Duration(cluster) / time.Duration(m.clusters))
			defer next.Stop()
			for i := range int(steady / spacing) {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-next.C:
				}
				next.Reset(spacing)
				slow := time.AfterFunc(slowAnswer, func() { m.slow(time.Now()) })
				took, err := m.send(ctx, cluster, time.Now(), float64(60*(flood+i)))
				slow.Stop()
				if err != nil {
					return err
				}
				mu.Lock()
				times = append(times, took)
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	seconds := time.Since(began).Seconds()
	after, err := usageOf(m.hub.cmd.Process.Pid)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%d clusters of %d series each minute: ", m.clusters, m.series)
	m.report.Lower(what+"processor of the hub", (after.cpu-before.cpu)/seconds, "cores", 0)
	m.report.Lower(what+"memory of the hub, RSS", after.rss, "MiB", 0)
	m.report.Lower(what+"memory of the hub at its highest, RSS", after.peak, "MiB", 0)
	m.report.Lower(what+"on the way", float64(m.bytes.Load()-sent)/seconds/1000, "kB/s", 0)
	m.report.Lower(what+"an answer, p50", report.Percentile(times, 0.5), "ms", 0)
	m.report.Lower(what+"an answer, p99", report.Percentile(times, 0.99), "ms", 0)
	m.report.Lower(what+"an answer, at worst", report.Percentile(times, 1), "ms", 0)
	m.report.Lower(what+"sessions that began anew meanwhile", float64(m.opened.Load()-opened), "", 0)
	return nil
}
