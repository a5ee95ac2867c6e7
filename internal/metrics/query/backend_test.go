package query

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/settings"
)

// TestAnOutsideStoreAnswers in the hub's place, with its own answers and errors; who may see some clusters gets nothing of others, whatever the query says.
// The store is another API of this package, which the hub asks for everything.
func TestAnOutsideStoreAnswers(t *testing.T) {
	store, hub := newAPI(t), newAPI(t)
	hub.Queryable = nil // it is not asked
	var asked []string
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("X-Scope-OrgID"))
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/prometheus")
		store.Query(w, r, nil)
	}))
	t.Cleanup(outside.Close)
	apply := func(text string) {
		t.Helper()
		said, err := settings.Read(map[string][]byte{"backend.yml": []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		if err := hub.Apply(said); err != nil {
			t.Fatal(err)
		}
	}
	apply("url: " + outside.URL + "/prometheus/\nheaders: {X-Scope-OrgID: fleet}\n")
	get := func(at string, form url.Values, clusters ...v1alpha1.ClusterName) (int, string) {
		t.Helper()
		answer, err := http.Get(serve(t, hub, clusters...) + "/api/v1/" + at + "?" + form.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	for _, c := range []struct {
		reason, at string
		form       url.Values
		clusters   []v1alpha1.ClusterName
		has, not   string
	}{
		{"everything", "query", url.Values{"query": {"sum(up)"}}, nil, `"2"`, ""},
		{"of one cluster", "query", url.Values{"query": {"sum(up)"}}, []v1alpha1.ClusterName{"a"}, `"1"`, ""},
		{"who asks for another one by name", "query", url.Values{"query": {`up{cluster="c"}`}}, []v1alpha1.ClusterName{"a"}, `"result":[]`, `"c"`},
		{"… in every form that a selector has", "query", url.Values{"query": {`max_over_time(max by (cluster) (up or {__name__=~"up",cluster!="a"})[10m:1m]) or rate(requests_total[5m] offset 1m) > bool on() group_left() count(up @ end())`}}, []v1alpha1.ClusterName{"a", "b"}, `"cluster":"b"`, `"c"`},
		{"a range", "query_range", url.Values{"query": {"up"}, "start": {"1795867200"}, "end": {"1795867200"}, "step": {"60"}}, []v1alpha1.ClusterName{"b"}, `"cluster":"b"`, `"cluster":"a"`},
		{"series", "series", url.Values{"match[]": {"up", `requests_total{cluster="c"}`}}, []v1alpha1.ClusterName{"a"}, `"cluster":"a"`, `"c"`},
		{"values of a label, without a selector", "label/cluster/values", url.Values{}, []v1alpha1.ClusterName{"a", "c"}, `["a","c"]`, `"b"`},
		{"names of labels", "labels", url.Values{}, []v1alpha1.ClusterName{"a"}, `"cluster"`, ""},
		{"types of what others have", "metadata", url.Values{}, []v1alpha1.ClusterName{"a"}, `"data":{}`, "secret"},
		{"types of all", "metadata", url.Values{}, nil, `"requests_total"`, "never"},
		{"alerts are the hub's", "alerts", url.Values{}, nil, `"alerts":[]`, ""},
	} {
		code, body := get(c.at, c.form, c.clusters...)
		if code != http.StatusOK || !strings.Contains(body, c.has) || c.not != "" && strings.Contains(body, c.not) {
			t.Errorf("%s: %d %s", c.reason, code, body)
		}
	}
	for _, tenant := range asked {
		if tenant != "fleet" {
			t.Errorf("a request has no header: %q", tenant)
		}
	}
	for _, clusters := range [][]v1alpha1.ClusterName{nil, {"a"}} {
		if code, body := get("query", url.Values{"query": {"sum(up"}}, clusters...); code != http.StatusBadRequest || !strings.Contains(body, "unclosed left parenthesis") {
			t.Errorf("a query that is none: %d %s", code, body)
		}
	}
	outside.Close()
	if code, body := get("query", url.Values{"query": {"up"}}); code != http.StatusBadGateway || !strings.Contains(body, "the store that answers queries for this hub (backend.yml of the Secret umbel-metrics)") || strings.Contains(body, "/prometheus/") {
		t.Errorf("a store that is away: %d %s", code, body)
	}
	apply("")
	hub.Queryable = store.Queryable
	if code, body := get("query", url.Values{"query": {"sum(up)"}}); code != http.StatusOK || !strings.Contains(body, `"2"`) {
		t.Errorf("without one the hub answers itself again: %d %s", code, body)
	}
}

// TestRestrict: every selector gets the matcher.
func TestRestrict(t *testing.T) {
	a := newAPI(t)
	got, err := a.restrict("query", url.Values{"query": {`sum(rate(a{x="1"}[5m])) / on() group_left() (b unless {__name__="c"})`}}, []v1alpha1.ClusterName{"eu", "us"})
	if err != nil {
		t.Fatal(err)
	}
	want := `sum(rate(a{cluster=~"eu|us",x="1"}[5m])) / on () group_left () (b{cluster=~"eu|us"} unless {__name__="c",cluster=~"eu|us"})`
	if diff := cmp.Diff(want, got.Get("query")); diff != "" {
		t.Error(diff)
	}
}
