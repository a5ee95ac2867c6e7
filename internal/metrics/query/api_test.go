package query

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/api"
	prom "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// newAPI has an hour of up and requests_total of the clusters a, b and c; c fails.
func newAPI(t *testing.T) *API {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := tsdb.Open(t.TempDir(), quiet, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	app := db.Appender(t.Context())
	for m := range 61 {
		at := noon.Add(time.Duration(m-60) * time.Minute).UnixMilli()
		for i, cluster := range []string{"a", "b", "c"} {
			for name, value := range map[string]float64{"up": float64(1 - i/2), "requests_total": float64(m * 60 * (i + 1))} {
				if _, err := app.Append(0, labels.FromStrings("__name__", name, "cluster", cluster), at, value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	types := func() map[string]request.Type {
		return map[string]request.Type{"up": request.Gauge, "requests_total": request.Counter, "secret": request.Gauge}
	}
	return New(Needs{Queryable: db, Types: types, Version: "v1", Now: func() time.Time { return noon }, Log: quiet})
}

// serve serves the API, of clusters alone where any are named.
func serve(t *testing.T, a *API, clusters ...v1alpha1.ClusterName) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.Query(w, r, clusters) }))
	t.Cleanup(server.Close)
	return server.URL
}

// TestPrometheusOwnClientReadsIt asks with the client that Prometheus has for Go, as promtool does.
func TestPrometheusOwnClientReadsIt(t *testing.T) {
	client, err := api.NewClient(api.Config{Address: serve(t, newAPI(t))})
	if err != nil {
		t.Fatal(err)
	}
	of, ctx := prom.NewAPI(client), t.Context()
	var got []string
	say := func(what string, value any, err error) {
		got = append(got, fmt.Sprintf("%s: %v, %v", what, value, err))
	}
	value, _, err := of.Query(ctx, "sum by (cluster) (up)", noon)
	say("query", strings.ReplaceAll(value.String(), "\n", " "), err)
	value, _, err = of.Query(ctx, "nothing", noon)
	say("nothing", value, err)
	value, _, err = of.Query(ctx, "1 + 1", noon)
	say("scalar", value, err)
	value, _, err = of.QueryRange(ctx, `rate(requests_total{cluster="b"}[5m])`, prom.Range{Start: noon.Add(-2 * time.Minute), End: noon, Step: time.Minute})
	say("range", strings.ReplaceAll(value.String(), "\n", " "), err)
	series, _, err := of.Series(ctx, []string{`up{cluster=~"a|b"}`, `{cluster="a"}`}, noon.Add(-time.Hour), noon)
	say("series", series, err)
	names, _, err := of.LabelNames(ctx, nil, noon.Add(-time.Hour), noon)
	say("labels", names, err)
	values, _, err := of.LabelValues(ctx, "cluster", []string{"up"}, noon.Add(-time.Hour), noon)
	say("values", values, err)
	metadata, err := of.Metadata(ctx, "up", "")
	say("metadata", metadata, err)
	build, err := of.Buildinfo(ctx)
	say("build", build.Version, err)
	want := []string{
		`query: {cluster="a"} => 1 @[1795867200] {cluster="b"} => 1 @[1795867200] {cluster="c"} => 0 @[1795867200], <nil>`,
		`nothing: , <nil>`,
		`scalar: scalar: 2 @[1795867200], <nil>`,
		`range: {cluster="b"} => 2 @[1795867080] 2 @[1795867140] 2 @[1795867200], <nil>`,
		`series: [{__name__="up", cluster="a"} {__name__="up", cluster="b"} {__name__="requests_total", cluster="a"}], <nil>`,
		`labels: [__name__ cluster], <nil>`,
		`values: [a b c], <nil>`,
		`metadata: map[up:[{gauge  }]], <nil>`,
		`build: 3.11.3, <nil>`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// ask returns the answer's code and its data, or its error.
func ask(t *testing.T, server, path string, form url.Values) (int, string) {
	t.Helper()
	response, err := http.PostForm(server+Prefix+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body struct {
		Status, ErrorType, Error string
		Data                     json.RawMessage
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if body.Status == "success" {
		return response.StatusCode, string(body.Data)
	}
	return response.StatusCode, body.ErrorType + ": " + body.Error
}

// TestNobodySeesOtherClusters asks for what is about others in every way that the API has.
func TestNobodySeesOtherClusters(t *testing.T) {
	server := serve(t, newAPI(t), "a", "b")
	for path, form := range map[string]url.Values{
		"query":                 {"query": {`{cluster=~".+"}`}, "time": {"1795867200"}},
		"query ":                {"query": {`up{cluster="c"} or up{cluster!="a"} or absent_over_time(up{cluster="c"}[5m])`}},
		"query_range":           {"query": {`requests_total or up`}, "start": {"1795867000"}, "end": {"1795867200"}, "step": {"60"}},
		"query  ":               {"query": {`max_over_time((sum by (cluster) (up))[30m:1m])`}},
		"series":                {"match[]": {`{__name__=~".+"}`, `{cluster="c"}`}},
		"labels":                {},
		"label/cluster/values":  {},
		"label/__name__/values": {"match[]": {`{cluster="c"}`}},
		"metadata":              {},
	} {
		code, got := ask(t, server, strings.TrimSpace(path), form)
		if code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, got)
		}
		if strings.Contains(got, `"c"`) && !strings.Contains(form.Get("query"), "absent") || strings.Contains(got, "secret") {
			t.Errorf("%s tells of cluster c: %s", path, got)
		}
	}
	if _, got := ask(t, server, "query", url.Values{"query": {`count(up)`}}); !strings.Contains(got, `"2"`) {
		t.Errorf("what may be seen is not: %s", got)
	}
}

func TestQuestionsThatAreNone(t *testing.T) {
	server := serve(t, newAPI(t))
	for _, test := range []struct {
		path string
		form url.Values
		code int
		says string
	}{
		{"query", url.Values{"query": {"up{"}}, 400, `bad_data: parameter "query": 1:4: parse error`},
		{"query", url.Values{"query": {"up"}, "time": {"soon"}}, 400, `parameter "time": "soon" is neither`},
		{"query_range", url.Values{"query": {"up"}}, 400, `parameter "start": it is missing`},
		{"query_range", url.Values{"query": {"up"}, "start": {"0"}, "end": {"1e9"}, "step": {"1s"}}, 400, "more than 11000 points"},
		{"query_range", url.Values{"query": {"up"}, "start": {"2"}, "end": {"1"}, "step": {"1"}}, 400, "before the start"},
		{"query_range", url.Values{"query": {"up"}, "start": {"1"}, "end": {"2"}, "step": {"0"}}, 400, "not positive"},
		{"query_range", url.Values{"query": {"up"}, "start": {"1"}, "end": {"2"}, "step": {"x"}}, 400, `parameter "step": "x" is neither`},
		{"series", nil, 400, `parameter "match[]": it is missing`},
		{"series", url.Values{"match[]": {"{"}}, 400, "parse error"},
		{"labels", url.Values{"limit": {"few"}}, 400, `parameter "limit"`},
		{"targets", nil, 404, "not_found: "},
		{"label/a/b/values", nil, 404, "not_found: "},
		{"query", url.Values{"query": {`up * on(cluster) group_left requests_total * on() up`}}, 422, "execution: "},
	} {
		code, got := ask(t, server, test.path, test.form)
		if code != test.code || !strings.Contains(got, test.says) {
			t.Errorf("%s %v: got %d %s, want %d with %q", test.path, test.form, code, got, test.code, test.says)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, server+Prefix+"query", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("DELETE: %s", response.Status)
	}
}

func TestAnAnswerHasAsMuchAsIsAskedFor(t *testing.T) {
	server := serve(t, newAPI(t))
	for path, want := range map[string]string{
		"label/cluster/values": `["a","b"]`, "labels": `["__name__","cluster"]`,
		"series": `[{"__name__":"up","cluster":"a"},{"__name__":"up","cluster":"b"}]`,
	} {
		_, got := ask(t, server, path, url.Values{"limit": {"2"}, "match[]": {"up"}})
		if got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}
