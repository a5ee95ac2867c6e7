package query

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/api"
	prom "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
)

// TestRulesAndAlerts as Prometheus' client for Go reads them: of all clusters, and by who may see some of them.
func TestRulesAndAlerts(t *testing.T) {
	a := newAPI(t)
	read := parser.NewParser(parser.Options{})
	expr := func(text string) parser.Expr {
		parsed, err := read.ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	group := rules.NewGroup(rules.GroupOptions{
		Name: "g", File: "umbel-system/own", Interval: time.Minute,
		Rules: []rules.Rule{
			rules.NewAlertingRule("Down", expr("up == 0"), 0, 0, labels.FromStrings("severity", "critical"), labels.FromStrings("summary", "it is down"), labels.EmptyLabels(), "", true, quiet),
			rules.NewRecordingRule("all:up:sum", expr("sum(up)"), labels.EmptyLabels()),
			rules.NewRecordingRule("broken", expr("up * on() group_left() up"), labels.EmptyLabels()),
		},
		Opts: &rules.ManagerOptions{
			Context: t.Context(), QueryFunc: rules.EngineQueryFunc(NewEngine(quiet), a.Queryable), NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
			Appendable: a.Queryable.(storage.Appendable), Queryable: a.Queryable, Logger: quiet, Metrics: rules.NewGroupMetrics(nil), NameValidationScheme: model.UTF8Validation,
		},
	})
	group.Eval(t.Context(), noon)
	a.Groups = func() []*rules.Group { return []*rules.Group{group} }

	client, err := api.NewClient(api.Config{Address: serve(t, a)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := prom.NewAPI(client).Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all.Groups) != 1 || all.Groups[0].Name != "g" || all.Groups[0].Interval != 60 || len(all.Groups[0].Rules) != 3 {
		t.Fatalf("got %+v", all)
	}
	down, is := all.Groups[0].Rules[0].(prom.AlertingRule)
	if !is || down.State != "firing" || down.Query != "up == 0" || down.Labels["severity"] != "critical" || len(down.Alerts) != 1 || down.Alerts[0].Labels["cluster"] != "c" {
		t.Errorf("got %+v", down)
	}
	if broken, is := all.Groups[0].Rules[2].(prom.RecordingRule); !is || broken.Health != "err" || !strings.Contains(broken.LastError, "many-to-many") && broken.LastError == "" {
		t.Errorf("got %+v", broken)
	}
	alerts, err := prom.NewAPI(client).Alerts(t.Context())
	if err != nil || len(alerts.Alerts) != 1 || alerts.Alerts[0].State != "firing" || alerts.Alerts[0].Annotations["summary"] != "it is down" || alerts.Alerts[0].Value != "0e+00" {
		t.Errorf("got %+v, %v", alerts, err)
	}

	some, err := api.NewClient(api.Config{Address: serve(t, a, "a", "b")})
	if err != nil {
		t.Fatal(err)
	}
	if alerts, err := prom.NewAPI(some).Alerts(t.Context()); err != nil || len(alerts.Alerts) != 0 {
		t.Errorf("who may see a and b alone sees alerts of c: %+v, %v", alerts, err)
	}
	seen, err := prom.NewAPI(some).Rules(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if down := seen.Groups[0].Rules[0].(prom.AlertingRule); down.State != "inactive" || len(down.Alerts) != 0 {
		t.Errorf("who may see a and b alone is told that something of c fires: %+v", down)
	}

	for query, want := range map[string]string{"type=record": "all:up:sum broken", "type=alert": "Down", "rule_name[]=Down": "Down", "rule_group[]=other": "", "file[]=umbel-system/own&rule_name[]=broken": "broken"} {
		got := names(t, serve(t, a)+"/api/v1/rules?"+query)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func names(t *testing.T, at string) string {
	t.Helper()
	response, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var said struct {
		Data struct {
			Groups []struct{ Rules []struct{ Name string } }
		}
	}
	decode(t, response.Body, &said)
	var found []string
	for _, g := range said.Data.Groups {
		for _, r := range g.Rules {
			found = append(found, r.Name)
		}
	}
	return strings.Join(found, " ")
}

func decode(t *testing.T, from io.Reader, into any) {
	t.Helper()
	if err := json.NewDecoder(from).Decode(into); err != nil {
		t.Fatal(err)
	}
}
