package rules

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/metrics/facts"
	"umbel.dev/umbel/internal/metrics/notify"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/settings"
	"umbel.dev/umbel/internal/metrics/store"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func TestRead(t *testing.T) {
	read := parser.NewParser(parser.Options{})
	for _, c := range []struct{ reason, spec, problem string }{
		{"an alert and a record, with a field of Thanos", "groups: [{name: g, partial_response_strategy: warn, rules: [{alert: A, expr: up == 0, for: 5m}, {record: 'a:b', expr: 1}]}]", ""},
		{"an expression that is none", "groups: [{name: g, rules: [{alert: A, expr: up}, {alert: B, expr: 'sum(up'}]}]", `spec: groups["g"].rules[1] (B): could not parse expression: 1:7: parse error: unclosed left parenthesis`},
		{"a template that is none", "groups: [{name: g, rules: [{alert: A, expr: up, annotations: {summary: '{{ $labels.cluster'}}]}]", `groups["g"].rules[0] (A): annotation "summary"`},
		{"neither alert nor record", "groups: [{name: g, rules: [{expr: up}]}]", "one of 'record' or 'alert' must be set"},
		{"a name that is the hub's", "groups: [{name: g, rules: [{record: umbel_cluster_connected, expr: vector(1)}]}]", `record "umbel_cluster_connected": such names are for what the hub says itself`},
		{"two groups of a name", "groups: [{name: g, rules: []}, {name: g, rules: []}]", `groupname: "g" is repeated in the same file`},
	} {
		t.Run(c.reason, func(t *testing.T) {
			var spec map[string]any
			if err := yaml.Unmarshal([]byte(c.spec), &spec); err != nil {
				t.Fatal(err)
			}
			_, err := Read(spec, read)
			if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
				t.Errorf("got %v, want %s", err, c.problem)
			}
		})
	}
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		reason              string
		shipped, last, live string
		want                step
	}{
		{"it has never been there", "1", "", "", create},
		{"it is as it was shipped", "1", "1", "1", leave},
		{"a later version says something else", "2", "1", "1", update},
		{"somebody changed it", "2", "1", "own", leave},
		{"somebody deleted it", "2", "1", "", leave},
		{"somebody else made one of that name", "1", "", "other", leave},
		{"the hub ended after it was made", "1", "", "1", adopt},
	} {
		if got := next(c.shipped, c.last, c.live); got != c.want {
			t.Errorf("%s: got %d, want %d", c.reason, got, c.want)
		}
	}
}

// TestAnAlertIsTold of a member that does not answer, by what the hub knows of it and a rule in the API, to an Alertmanager and a webhook; a rule that cannot be read is told of as an event, and what it said before goes
// on; what people do with shipped rules stays.
func TestAnAlertIsTold(t *testing.T) {
	config := kubetest.Start(t)
	ctx := t.Context()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	kubetest.InstallCRDs(t, config)
	kubetest.InstallRules(t, config)
	if err := api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.SystemNamespace}}); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	told := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var some struct {
			Alerts []struct{ Labels map[string]string }
		}
		if r.URL.Path == "/api/v2/alerts" {
			_ = json.Unmarshal(body, &some.Alerts)
		} else {
			_ = json.Unmarshal(body, &some)
		}
		for _, a := range some.Alerts {
			told <- r.URL.Path + " " + a.Labels["alertname"] + " " + a.Labels["cluster"] + " " + a.Labels["fleet"]
		}
	}))
	t.Cleanup(server.Close)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: settings.Secret}, StringData: map[string]string{
		"prometheus.yml": "alerting: {alertmanagers: [{static_configs: [{targets: ['" + strings.TrimPrefix(server.URL, "http://") + "']}]}]}", "webhooks": server.URL + "/hook",
	}}
	if err := api.Create(ctx, secret); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(t.Context(), secret) })
	if err := Ship(ctx, api, deploy.Rules); err != nil {
		t.Fatal(err)
	}

	edge := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "edge"}}
	if err := api.Create(ctx, edge); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Delete(context.WithoutCancel(t.Context()), edge) })
	edge.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonProbeTimeout, LastTransitionTime: metav1.Now(),
	}}
	if err := api.Status().Update(ctx, edge); err != nil {
		t.Fatal(err)
	}
	engine := run(t, config, scheme)
	own := ruleObject("own", "Away", "umbel_cluster_connected == 0")
	if err := api.Create(ctx, own); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/api/v2/alerts Away edge fleet-1", "/hook Away edge fleet-1"} {
		await(t, want, func() bool {
			select {
			case got := <-told:
				if got != want { // both come, in any order, and again
					told <- got
				}
				return got == want
			default:
				return false
			}
		})
	}

	// Somebody breaks it: an event says so, and it goes on as it was.
	spoil := ruleObject("own", "Away", "sum(")
	spoil.SetResourceVersion(own.GetResourceVersion())
	if err := api.Update(ctx, spoil); err != nil {
		t.Fatal(err)
	}
	await(t, "an event that says what is wrong", func() bool {
		var list eventsv1.EventList
		if err := api.List(ctx, &list, client.InNamespace(v1alpha1.SystemNamespace)); err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if e.Reason == "RulesBroken" && e.Regarding.Name == "own" && strings.Contains(e.Note, `groups["own"].rules[0] (Away)`) {
				return true
			}
		}
		return false
	})
	if !engine.has("Away") {
		t.Error("a rule that was broken by an edit does not go on")
	}
	if err := api.Delete(ctx, spoil); err != nil {
		t.Fatal(err)
	}
	await(t, "a rule that was deleted to go", func() bool { return !engine.has("Away") })

	// Elsewhere is not the hub's.
	if err := api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-rules"}}); client.IgnoreAlreadyExists(err) != nil {
		t.Fatal(err)
	}
	others := ruleObject("theirs", "Theirs", "vector(1)")
	others.SetNamespace("team-rules")
	late := ruleObject("late", "Late", "vector(1)")
	for _, o := range []*unstructured.Unstructured{others, late} {
		if err := api.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = api.Delete(t.Context(), o) })
	}
	await(t, "the hub's own, which was made later", func() bool { return engine.has("Late") })
	if engine.has("Theirs") {
		t.Error("a rule in a team's namespace is evaluated over all clusters")
	}
	if !engine.has("ClusterUnreachable") || !engine.has("NodePressure") {
		t.Error("what is shipped is not evaluated")
	}

	// What people do with shipped rules stays.
	fleet := Object()
	fleet.SetNamespace(v1alpha1.SystemNamespace)
	fleet.SetName("umbel-fleet")
	if err := api.Delete(ctx, fleet); err != nil {
		t.Fatal(err)
	}
	if err := Ship(ctx, api, deploy.Rules); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(ctx, client.ObjectKeyFromObject(fleet), fleet); !apierrors.IsNotFound(err) {
		t.Errorf("what was deleted is there again: %v", err)
	}
}

func (e *Engine) has(alert string) bool {
	for _, group := range e.Groups() {
		for _, rule := range group.AlertingRules() {
			if rule.Name() == alert {
				return true
			}
		}
	}
	return false
}

// run runs what a hub does of it, every second.
func run(t *testing.T, config *rest.Config, scheme *runtime.Scheme) *Engine {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	kept, err := store.Open(store.Config{Dir: t.TempDir(), Now: time.Now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true), UsePriorityQueue: new(false)},
	})
	if err != nil {
		t.Fatal(err)
	}
	told := notify.New(notify.Needs{Fleet: "fleet-1", URL: "https://hub:1", Now: time.Now, Log: quiet})
	engine, err := NewEngine(t.Context(), Needs{
		Queryable: kept.Queryable(), Appendable: kept, Engine: query.NewEngine(quiet), Notify: told.Notify, URL: "https://hub:1", Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	controller, err := Setup(mgr, engine)
	if err != nil {
		t.Fatal(err)
	}
	if err := facts.Setup(mgr, facts.Needs{More: controller.Facts, Say: kept.Say, End: kept.End, Now: time.Now, Log: quiet}); err != nil {
		t.Fatal(err)
	}
	if err := mgr.Add(told); err != nil {
		t.Fatal(err)
	}
	if err := settings.Setup(mgr, quiet, told.Apply); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		kept.Close()
	})
	return engine
}

// await waits until something is so, two minutes at most.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func ruleObject(name, alert, expr string) *unstructured.Unstructured {
	o := Object()
	o.SetNamespace(v1alpha1.SystemNamespace)
	o.SetName(name)
	o.Object["spec"] = map[string]any{"groups": []any{map[string]any{
		"name": name, "interval": "1s", "rules": []any{map[string]any{"alert": alert, "expr": expr}},
	}}}
	return o
}
