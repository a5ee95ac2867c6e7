package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

// instant answers query.
func (a *API) instant(ctx context.Context, form url.Values, db storage.Queryable) (answer, error) {
	at, err := moment(form, "time", a.Now())
	if err != nil {
		return answer{}, err
	}
	q, err := a.engine.NewInstantQuery(ctx, db, nil, form.Get("query"), at)
	if err != nil {
		return answer{}, badly("query", err)
	}
	return execute(ctx, q)
}

// span answers query_range.
func (a *API) span(ctx context.Context, form url.Values, db storage.Queryable) (answer, error) {
	for _, name := range []string{"start", "end", "step"} {
		if form.Get(name) == "" {
			return answer{}, badly(name, errors.New("it is missing"))
		}
	}
	start, err := moment(form, "start", time.Time{})
	if err != nil {
		return answer{}, err
	}
	end, err := moment(form, "end", time.Time{})
	if err != nil {
		return answer{}, err
	}
	step, err := duration(form.Get("step"))
	switch {
	case err != nil:
		return answer{}, badly("step", err)
	case end.Before(start):
		return answer{}, badly("end", errors.New("it is before the start"))
	case step <= 0:
		return answer{}, badly("step", errors.New("it is not positive"))
	case end.Sub(start)/step > maxPoints:
		return answer{}, badly("step", fmt.Errorf("that makes more than %d points of a series: take a longer step", maxPoints))
	}
	q, err := a.engine.NewRangeQuery(ctx, db, nil, form.Get("query"), start, end, step)
	if err != nil {
		return answer{}, badly("query", err)
	}
	return execute(ctx, q)
}

func execute(ctx context.Context, q promql.Query) (answer, error) {
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return answer{}, result.Err
	}
	raw, err := json.Marshal(result.Value) // before the query is closed, whose memory it is
	if err != nil {
		return answer{}, err
	}
	if string(raw) == "null" {
		raw = []byte("[]") // nothing, in Go's way
	}
	return answer{data: map[string]any{"resultType": result.Value.Type(), "result": json.RawMessage(raw)}, warnings: result.Warnings}, nil
}

// reach is over which time series and labels are looked for.
func (a *API) reach(form url.Values) (mint, maxt int64, err error) {
	start, err := moment(form, "start", time.UnixMilli(0))
	if err != nil {
		return 0, 0, err
	}
	end, err := moment(form, "end", a.Now())
	if err != nil {
		return 0, 0, err
	}
	return start.UnixMilli(), end.UnixMilli(), nil
}

// selectors are what match[] says.
func (a *API) selectors(form url.Values) ([][]*labels.Matcher, error) {
	sets, err := a.parser.ParseMetricSelectors(form["match[]"])
	if err != nil {
		return nil, badly("match[]", err)
	}
	return sets, nil
}

// limit is how many may be in an answer; all by default.
func limit(form url.Values) (int, error) {
	text := form.Get("limit")
	if text == "" {
		return math.MaxInt, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, badly("limit", fmt.Errorf("%q is no number of things", text))
	}
	if n == 0 {
		return math.MaxInt, nil
	}
	return n, nil
}

// looks opens the database for the time of a request.
func (a *API) looks(form url.Values, db storage.Queryable) (q storage.Querier, sets [][]*labels.Matcher, most int, err error) {
	if sets, err = a.selectors(form); err != nil {
		return nil, nil, 0, err
	}
	if most, err = limit(form); err != nil {
		return nil, nil, 0, err
	}
	mint, maxt, err := a.reach(form)
	if err != nil {
		return nil, nil, 0, err
	}
	q, err = db.Querier(mint, maxt)
	return q, sets, most, err
}

// series answers series.
func (a *API) series(ctx context.Context, form url.Values, db storage.Queryable) (answer, error) {
	if len(form["match[]"]) == 0 {
		return answer{}, badly("match[]", errors.New("it is missing"))
	}
	q, sets, most, err := a.looks(form, db)
	if err != nil {
		return answer{}, err
	}
	defer q.Close()
	found := []labels.Labels{}
	seen := map[uint64]bool{}
	for _, matchers := range sets {
		set := q.Select(ctx, true, &storage.SelectHints{Func: "series", End: math.MaxInt64}, matchers...)
		for set.Next() && len(found) < most {
			one := set.At().Labels()
			if hash := one.Hash(); !seen[hash] {
				seen[hash] = true
				found = append(found, one)
			}
		}
		if set.Err() != nil {
			return answer{}, set.Err()
		}
	}
	return answer{data: found}, nil
}

// labels answers labels.
func (a *API) labels(ctx context.Context, form url.Values, db storage.Queryable) (answer, error) {
	q, sets, most, err := a.looks(form, db)
	if err != nil {
		return answer{}, err
	}
	defer q.Close()
	return gather(sets, most, func(matchers []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelNames(ctx, nil, matchers...)
	})
}

// values answers label/NAME/values.
func (a *API) values(ctx context.Context, form url.Values, name string, db storage.Queryable) (answer, error) {
	q, sets, most, err := a.looks(form, db)
	if err != nil {
		return answer{}, err
	}
	defer q.Close()
	return gather(sets, most, func(matchers []*labels.Matcher) ([]string, annotations.Annotations, error) {
		return q.LabelValues(ctx, name, nil, matchers...)
	})
}

// gather puts together what each of several selectors finds; everything where there is none.
func gather(sets [][]*labels.Matcher, most int, ask func([]*labels.Matcher) ([]string, annotations.Annotations, error)) (answer, error) {
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	all := []string{}
	var warnings annotations.Annotations
	for _, matchers := range sets {
		found, said, err := ask(matchers)
		if err != nil {
			return answer{}, err
		}
		warnings.Merge(said)
		for _, one := range found {
			all = append(all, string([]byte(one))) // not valid any more when the querier is closed
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return answer{data: all[:min(len(all), most)], warnings: warnings}, nil
}

// typeNames are the types of metrics as the API has them.
var typeNames = map[request.Type]string{
	request.Counter: "counter", request.Gauge: "gauge", request.Histogram: "histogram", request.GaugeHistogram: "gaugehistogram",
	request.Summary: "summary", request.Info: "info", request.StateSet: "stateset",
}

type metricType struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// metadata answers metadata. Whoever may not see all gets the types of what there is of the clusters alone.
func (a *API) metadata(ctx context.Context, form url.Values, db storage.Queryable, clusters []v1alpha1.ClusterName) (answer, error) {
	most, err := limit(form)
	if err != nil {
		return answer{}, err
	}
	types := a.Types()
	if len(clusters) > 0 {
		q, err := db.Querier(a.Now().Add(-time.Hour).UnixMilli(), a.Now().UnixMilli())
		if err != nil {
			return answer{}, err
		}
		defer q.Close()
		there, _, err := q.LabelValues(ctx, model.MetricNameLabel, nil)
		if err != nil {
			return answer{}, err
		}
		for name := range types {
			if _, found := slices.BinarySearch(there, name); !found {
				delete(types, name)
			}
		}
	}
	data := map[string][]metricType{}
	for name, kind := range types {
		if wanted := form.Get("metric"); (wanted == "" || wanted == name) && len(data) < most {
			data[name] = []metricType{{Type: typeNames[kind]}}
		}
	}
	return answer{data: data}, nil
}

// moment reads a time: seconds since 1970, or RFC 3339.
func moment(form url.Values, name string, otherwise time.Time) (time.Time, error) {
	text := form.Get(name)
	if text == "" {
		return otherwise, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e12 {
		return time.UnixMilli(int64(math.Round(seconds * 1000))), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return at, badly(name, fmt.Errorf("%q is neither seconds since 1970 nor a time such as 2026-11-22T12:00:00Z", text))
	}
	return at, nil
}

// duration reads seconds, or what Prometheus has for durations.
func duration(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither seconds nor a duration such as 30s or 5m", text)
	}
	return time.Duration(d), nil
}
