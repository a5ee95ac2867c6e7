package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

// Prefix is below which the API is served.
const Prefix = "/api/v1/"

const (
	// maxSamples is how many samples a query may hold at once, 16 bytes each; timeout is how long it may take.
	maxSamples, timeout = 10_000_000, 2 * time.Minute
	// atOnce is how many queries are answered at once.
	atOnce = 4
	// maxPoints is how many points a series of a range may have, as with Prometheus.
	maxPoints = 11_000
	// maxForm is how many bytes the form of a request may have.
	maxForm = 1 << 20
	// lookback is how long a sample stands when none follows.
	lookback = 5 * time.Minute
)

// Needs are what an API needs.
type Needs struct {
	Queryable storage.Queryable
	// Types returns the types of metrics by their names.
	Types func() map[string]request.Type
	// Groups are the rules that are evaluated, or nil where none are.
	Groups func() []*rules.Group
	// Version of the hub.
	Version string
	Now     func() time.Time
	Log     *slog.Logger
}

// API answers queries. It is safe for concurrent use.
type API struct {
	Needs
	engine *promql.Engine
	parser parser.Parser
	turns  chan struct{}
	// backend answers in the place of Queryable; nil when none is named.
	backend atomic.Pointer[backend]
}

// New returns an API.
func New(n Needs) *API {
	return &API{Needs: n, parser: parser.NewParser(parser.Options{}), turns: make(chan struct{}, atOnce), engine: NewEngine(n.Log)}
}

// NewEngine returns an engine of PromQL with the bounds that a query has.
func NewEngine(log *slog.Logger) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		Logger: log, MaxSamples: maxSamples, Timeout: timeout, LookbackDelta: lookback, Parser: parser.NewParser(parser.Options{}),
		EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
	})
}

// answer is what a request is answered with.
type answer struct {
	data     any
	warnings annotations.Annotations
	said     []string // warnings of an outside store
}

// problem is why it is not: kind is one of Prometheus'.
type problem struct {
	code int
	kind string
	err  error
}

func (p *problem) Error() string { return p.err.Error() }

func bad(err error) error { return &problem{http.StatusBadRequest, "bad_data", err} }

// badly says that a parameter cannot be read.
func badly(name string, err error) error { return bad(fmt.Errorf("parameter %q: %w", name, err)) }

// Query answers a request below Prefix, of these clusters; of all where none is named. Whoever calls it has decided that it may.
func (a *API) Query(w http.ResponseWriter, r *http.Request, clusters []v1alpha1.ClusterName) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		write(w, http.StatusMethodNotAllowed, map[string]any{"status": "error", "errorType": "bad_data", "error": "metrics are asked for by GET or POST"})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-r.Context().Done():
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	got, err := a.serve(ctx, r, of(a.Queryable, clusters), clusters)
	if err != nil {
		a.fail(w, err)
		return
	}
	body := map[string]any{"status": "success", "data": got.data}
	warnings, infos := got.warnings.AsStrings(r.Form.Get("query"), 10, 10)
	if warnings = append(warnings, got.said...); len(warnings) > 0 {
		body["warnings"] = warnings
	}
	if len(infos) > 0 {
		body["infos"] = infos
	}
	write(w, http.StatusOK, body)
}

func (a *API) serve(ctx context.Context, r *http.Request, db storage.Queryable, clusters []v1alpha1.ClusterName) (answer, error) {
	if err := r.ParseForm(); err != nil {
		return answer{}, bad(err)
	}
	at := strings.TrimPrefix(r.URL.Path, Prefix)
	if outside := a.backend.Load(); outside != nil && forwarded(at) {
		return a.forward(ctx, outside, at, r.Form, clusters)
	}
	switch at {
	case "query":
		return a.instant(ctx, r.Form, db)
	case "query_range":
		return a.span(ctx, r.Form, db)
	case "series":
		return a.series(ctx, r.Form, db)
	case "labels":
		return a.labels(ctx, r.Form, db)
	case "metadata":
		return a.metadata(ctx, r.Form, db, clusters)
	case "rules":
		return a.rules(r.Form, clusters), nil
	case "alerts":
		return a.alerts(clusters), nil
	case "status/buildinfo": // Grafana asks what it may ask
		return answer{data: map[string]string{"version": promVersion, "application": "umbel", "revision": a.Version}}, nil
	default:
		rest, found := strings.CutPrefix(at, "label/")
		name, values := strings.CutSuffix(rest, "/values")
		if found && values && name != "" && !strings.Contains(name, "/") {
			return a.values(ctx, r.Form, name, db)
		}
		return answer{}, &problem{http.StatusNotFound, "not_found", fmt.Errorf(
			"%q is none of what the hub answers of Prometheus' API: query, query_range, series, labels, label/NAME/values, metadata, rules, alerts, status/buildinfo", at)}
	}
}

// promVersion is of which Prometheus the engine and the API are.
const promVersion = "3.11.3"

func (a *API) fail(w http.ResponseWriter, err error) {
	code, kind := http.StatusUnprocessableEntity, "execution"
	var canceled promql.ErrQueryCanceled
	var late promql.ErrQueryTimeout
	var own *problem
	switch {
	case errors.As(err, &own):
		code, kind = own.code, own.kind
	case errors.As(err, &canceled):
		code, kind = http.StatusServiceUnavailable, "canceled"
	case errors.As(err, &late), errors.Is(err, context.DeadlineExceeded):
		code, kind = http.StatusServiceUnavailable, "timeout"
	}
	write(w, code, map[string]any{"status": "error", "errorType": kind, "error": err.Error()})
}

func write(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	raw, err := json.Marshal(body)
	if err != nil { // of values that are no JSON there are none
		code, raw = http.StatusInternalServerError, []byte(`{"status":"error","errorType":"internal","error":"the answer cannot be written"}`)
	}
	w.WriteHeader(code)
	w.Write(raw) //nolint:errcheck // who is gone misses nothing
}
