package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	promrules "github.com/prometheus/prometheus/rules"
	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/request"
	"umbel.dev/umbel/internal/metrics/rules"
	"umbel.dev/umbel/internal/metrics/store"
)

// kept is what a hub keeps of what clusters measure, and how it is asked for.
type kept struct {
	*store.Store
	*query.API
	engine *rules.Engine
}

// measure opens the store of metrics in a folder, and evaluates a rule.
func (b *bench) measure(ctx context.Context, dir string) (gateway.Metrics, error) {
	quiet := slog.New(slog.DiscardHandler)
	db, err := store.Open(store.Config{Dir: dir, Now: time.Now, Log: quiet})
	if err != nil {
		return nil, err
	}
	engine, err := rules.NewEngine(ctx, rules.Needs{Queryable: db.Queryable(), Appendable: db, Engine: query.NewEngine(quiet), Notify: nobody, URL: "https://hub.example.com", Log: quiet})
	if err != nil {
		return nil, err
	}
	go engine.Start(ctx) //nolint:errcheck // it ends with the program
	b.kept = &kept{db, query.New(query.Needs{Queryable: db.Queryable(), Types: db.Types, Groups: engine.Groups, Now: time.Now, Log: quiet}), engine}
	return b.kept, nil
}

// nobody is told of alerts.
func nobody(context.Context, string, ...*promrules.Alert) {}

// minutes is of how long each cluster has samples, one a minute.
const minutes = 50

// seedMetrics keeps what capacity is made of: of each cluster what its node has and uses, and what each of its namespaces requests.
func (b *bench) seedMetrics(ctx context.Context) error {
	now := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for n := range b.clusters {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return b.write(now, n)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	lasts := model.Duration(10 * time.Second)
	return b.kept.engine.Take("umbel-system/bench", &rulefmt.RuleGroups{Groups: []rulefmt.RuleGroup{{Name: "bench", Interval: lasts, Rules: []rulefmt.Rule{{
		Alert: "NothingToSpare", Expr: `count by (cluster) (kube_node_status_allocatable{resource="cpu"}) < 2`, Labels: map[string]string{"severity": "warning"},
		Annotations: map[string]string{"summary": "Cluster {{ $labels.cluster }} has {{ $value }} node: nothing takes over for it.", "command": "umbel describe cluster {{ $labels.cluster }}"},
	}}}}})
}

func (b *bench) write(now time.Time, n int) error {
	var to request.Builder
	for minute := range minutes {
		at := now.Add(time.Duration(minute-minutes) * time.Minute)
		add := func(value float64, name string, pairs ...string) {
			set := []request.Label{{Name: "__name__", Value: name}}
			for i := 0; i < len(pairs); i += 2 {
				set = append(set, request.Label{Name: pairs[i], Value: pairs[i+1]})
			}
			to.Add(set, request.Gauge, at.UnixMilli(), value)
		}
		add(8, "kube_node_status_allocatable", "job", "state", "node", "n", "resource", "cpu")
		add(32<<30, "kube_node_status_allocatable", "job", "state", "node", "n", "resource", "memory")
		add(float64(minute*60*2), "node_cpu_usage_seconds_total", "instance", "n", "job", "kubelet-resource")
		add(float64(n%16+4)*(1<<30), "node_memory_working_set_bytes", "instance", "n", "job", "kubelet-resource")
		for p := range b.packages {
			namespace := fmt.Sprintf("package-%02d", p)
			add(0.1+float64(n%7)/20, "umbel_requests", "job", "state", "namespace", namespace, "resource", "cpu")
			add(float64(256<<20), "umbel_requests", "job", "state", "namespace", namespace, "resource", "memory")
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(to.Take()))
	r.Header.Set("Content-Type", request.ContentType)
	r.Header.Set("Content-Encoding", request.ContentEncoding)
	w := httptest.NewRecorder()
	if b.kept.Write(w, r, v1alpha1.ClusterName(fmt.Sprintf("cluster-%05d", n))); w.Code != http.StatusNoContent {
		return errors.New(w.Body.String())
	}
	return nil
}
