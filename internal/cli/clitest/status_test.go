package clitest_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/clitest"
	"umbel.dev/umbel/internal/health"
	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/rules"
	"umbel.dev/umbel/internal/metrics/store"
)

// TestStatus is what is wrong with the fleet of these tests, in every form, and with a hub that falls silent.
func TestStatus(t *testing.T) {
	f := newFleet(t)
	f.now = clitest.Now // conditions have been so since an hour before
	f.heard(t, 2*time.Second)
	var silent v1alpha1.MemberCluster
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "prod-us"}, &silent); err != nil {
		t.Fatal(err)
	}
	silent.Status.LastSeen = &metav1.Time{Time: f.now.Add(-4 * time.Minute)}
	if err := f.api.Status().Update(t.Context(), &silent); err != nil {
		t.Fatal(err)
	}
	f.rolls(t)
	f.membersOf(t, alerting(t))
	f.golden(t, "status.txt", "status")
	f.golden(t, "status-wide.txt", "status -o wide")
	f.golden(t, "status-name.txt", "status -o name")
	f.golden(t, "status-waiting.txt", "status --level Waiting,Warning --no-headers")
	f.statusFollows(t)
	f.says(t, "status --watch --exit-code", said{Code: 2, Err: "error: --exit-code says how the fleet is at one moment: leave --watch out\n"})
	f.says(t, "status --watch -o json", said{Code: 2, Err: "error: -o json shows one moment: leave --watch out\n"})
	f.says(t, "status --level Bad", said{Code: 2, Err: "error: --level \"Bad\": it is one of Critical, Failing, Waiting, Warning\n"})
	if got := f.run(t.Context(), "status", "-o", "name", "--exit-code"); got.Code != 3 || got.Err != "" {
		t.Errorf("something is wrong: got %+v, want code 3", got)
	}
	var program struct {
		Hub      struct{ Alive bool }
		Counts   health.Counts
		Findings []health.Finding
	}
	read(t, f.run(t.Context(), "status", "-o", "json"), &program)
	if !program.Hub.Alive || program.Counts.Clusters != 6 || program.Counts.ClustersReady != 1 || len(program.Findings) == 0 || program.Findings[0].Name != "prod-us" {
		t.Errorf("got %+v", program)
	}
	// More of the same reason than have a line each.
	for _, name := range []string{"edge-1", "edge-2", "edge-3"} {
		f.create(t, &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1alpha1.MemberClusterStatus{Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonAwaitingAgent, Message: "no agent has come yet", LastTransitionTime: metav1.NewTime(f.now.Add(-time.Hour)),
		}}}})
	}
	if got := f.run(t.Context(), "status"); !strings.Contains(got.Out, "4 clusters") || strings.Contains(got.Out, "cluster/edge") || !strings.Contains(got.Out, "AwaitingAgent: edge, edge-1, edge-2 and 1 more; the first: ") {
		t.Errorf("four clusters for one reason are not one line: %+v", got)
	}
	f.heard(t, 3*time.Minute)
	if got := f.run(t.Context(), "status"); !strings.Contains(got.Out, "0 of 9 clusters ready") || !strings.Contains(got.Out, "Critical   hub") || strings.Contains(got.Out, "prod-us") {
		t.Errorf("with a silent hub nothing else is news: %+v", got)
	}
}

// statusFollows: what comes and is over is told of as it happens, and whoever watches ends it with code 0.
func (f *fleet) statusFollows(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	lines, done := f.follow(ctx, "status", "--watch", "--level", "Waiting")
	for line := range lines {
		if strings.Contains(line, "cluster/edge ") { // the last of what there is
			break
		}
	}
	late := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "late"}, Status: v1alpha1.MemberClusterStatus{Conditions: []metav1.Condition{{
		Type: v1alpha1.ConditionConnected, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPendingApproval, Message: "it waits", LastTransitionTime: metav1.NewTime(f.now),
	}}}}
	f.create(t, late)
	await := func(want string) {
		t.Helper()
		for line := range lines {
			if strings.Contains(line, want) {
				return
			}
		}
		t.Errorf("it is not told: %s", want)
	}
	await("Waiting   cluster/late: it waits")
	if err := f.api.Delete(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	await("over      cluster/late: PendingApproval")
	cancel()
	if err := <-done; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// alerting has the door of a hub answer for its rules, of which one fires.
func alerting(t *testing.T) func(http.Handler) http.Handler {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	now := func() time.Time { return clitest.Now }
	kept, err := store.Open(store.Config{Dir: t.TempDir(), Now: now, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kept.Close() })
	engine, err := rules.NewEngine(t.Context(), rules.Needs{
		Queryable: kept.Queryable(), Appendable: kept, Engine: query.NewEngine(quiet), URL: "https://hub", Log: quiet,
		Notify: func(context.Context, string, ...*promrules.Alert) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	groups, err := rules.Read(map[string]any{"groups": []any{map[string]any{"name": "own", "rules": []any{map[string]any{
		"alert": "NodeIsHot", "expr": "vector(1)", "labels": map[string]any{"cluster": "prod-eu", "node": "n1", "severity": "warning"},
		"annotations": map[string]any{"summary": "Node n1 of prod-eu is hot.", "command": "umbel top nodes"},
	}}}}}, parser.NewParser(parser.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Take("umbel-system/own", groups); err != nil {
		t.Fatal(err)
	}
	for _, group := range engine.Groups() {
		group.Eval(t.Context(), clitest.Now.Add(-5*time.Minute))
		group.Eval(t.Context(), clitest.Now)
	}
	api := query.New(query.Needs{Queryable: kept.Queryable(), Types: kept.Types, Groups: engine.Groups, Now: now, Log: quiet})
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, query.Prefix) {
				api.Query(w, r, nil)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
