package rules

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tsdb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/metrics/query"
)

// shipped reads the objects that a hub is shipped with, and returns an engine that has them, of a database with series as promtool writes them, a value
// a minute from the hour zero on.
func shipped(t *testing.T, series ...string) *Engine {
	t.Helper()
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := tsdb.Open(t.TempDir(), quiet, nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	read, app := parser.NewParser(parser.Options{}), db.Appender(t.Context())
	for _, line := range series {
		set, values, err := read.ParseSeriesDesc(line)
		if err != nil {
			t.Fatal(line, err)
		}
		for i, v := range values {
			if v.Omitted {
				continue
			}
			if _, err := app.Append(0, set, hour.Add(time.Duration(i)*time.Minute).UnixMilli(), v.Value); err != nil {
				t.Fatal(line, err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	e, err := NewEngine(t.Context(), Needs{
		Queryable: db, Appendable: db, Engine: query.NewEngine(quiet), URL: "https://hub:1", Log: quiet, Notify: func(context.Context, string, ...*rules.Alert) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(deploy.Rules, "*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		object, err := readShipped(deploy.Rules, file)
		if err != nil {
			t.Fatal(err)
		}
		spec, _, _ := unstructured.NestedMap(object.Object, "spec")
		groups, err := Read(spec, e.parser)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := e.Take(object.GetNamespace()+"/"+object.GetName(), groups); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// hour is where the series of tests begin: quarter past ten, so that nothing is at a boundary.
var hour = time.Date(2026, 11, 29, 10, 15, 0, 0, time.UTC)

// TestShippedRules: each alert that a hub is shipped with fires when it should, and neither before nor for others.
func TestShippedRules(t *testing.T) {
	type want struct{ labels, summary string }
	cases := []struct {
		reason, alert string
		series        []string
		not, at       time.Duration // when it does not fire yet, and when it does
		want          []want        // none: it never fires
	}{
		{
			"a cluster that does not answer for six minutes, beside one that does", "ClusterUnreachable",
			[]string{`umbel_cluster_connected{cluster="a"} 1 1 0x20`, `umbel_cluster_connected{cluster="b"} 1x20`}, 6 * time.Minute, 7 * time.Minute,
			[]want{{"cluster=a severity=critical", "Cluster a is not connected to the hub."}},
		},
		{"a cluster that was away for a moment", "ClusterUnreachable", []string{`umbel_cluster_connected{cluster="a"} 1 0 0 1x20`}, 0, 20 * time.Minute, nil},
		{"a cluster that was put to sleep: nobody says any more that it should be connected", "ClusterUnreachable", []string{`umbel_cluster_connected{cluster="a"} 0 0 stale`}, 0, 20 * time.Minute, nil},
		{
			"a certificate that ends in ten days", "ClusterCertificateEnds", []string{`umbel_cluster_certificate_end_seconds{cluster="a",of="CA"} ` + inDays(10) + "x70"}, 30 * time.Minute, 65 * time.Minute,
			[]want{{"cluster=a of=CA severity=warning", "A certificate of cluster a ends in 9d 22h 55m 0s: CA."}},
		},
		{"… tomorrow is another alert", "ClusterCertificateEnds", []string{`umbel_cluster_certificate_end_seconds{cluster="a",of="CA"} ` + inDays(1) + "x70"}, 0, 65 * time.Minute, nil},
		{
			"a certificate that ends tomorrow", "ClusterCertificateEndsSoon", []string{`umbel_cluster_certificate_end_seconds{cluster="a",of="CA"} ` + inDays(1) + "x70"}, 9 * time.Minute, 10 * time.Minute,
			[]want{{"cluster=a of=CA severity=critical", "A certificate of cluster a ends in 23h 50m 0s, or has ended: CA."}},
		},
		{"one that ends next year", "ClusterCertificateEndsSoon", []string{`umbel_cluster_certificate_end_seconds{cluster="a",of="CA"} ` + inDays(300) + "x70"}, 0, 65 * time.Minute, nil},
		{
			"a package that fails for a quarter of an hour", "PackageFailing",
			[]string{`umbel_package_clusters{namespace="shop",package="web",state="failing"} 2x30`, `umbel_package_clusters{namespace="shop",package="web",state="ready"} 5x30`}, 14 * time.Minute, 15 * time.Minute,
			[]want{{"namespace=shop package=web severity=warning state=failing", "Package shop/web fails on 2 of its clusters."}},
		},
		{
			"a fight", "DriftFight", []string{`umbel_package_drift_fights{cluster="a",namespace="shop",package="web"} 1x30`}, 4 * time.Minute, 5 * time.Minute,
			[]want{{"cluster=a namespace=shop package=web severity=warning", "Somebody undoes 1 objects of package shop/web on cluster a as often as they are put back."}},
		},
		{
			"a rollout that halted", "RolloutStuck",
			[]string{`umbel_rollout_stuck{namespace="shop",rollout="web-3",about="web",reason="Halted",level="Failing"} 1x30`, `umbel_rollout_stuck{namespace="shop",rollout="db-1",about="db",reason="Paused",level="Waiting"} 1x30`}, time.Minute, 2 * time.Minute,
			[]want{{"about=web level=Failing namespace=shop reason=Halted rollout=web-3 severity=warning", "Rollout shop/web-3 of web stands still: Halted."}},
		},
		{
			"an approval that nobody gives for a day", "RolloutAwaitsSomebody", []string{`umbel_rollout_stuck{namespace="shop",rollout="db-1",about="db",reason="AwaitingApproval",level="Waiting"} 1x1500`}, 23 * time.Hour, 24*time.Hour + 10*time.Minute,
			[]want{{"about=db level=Waiting namespace=shop reason=AwaitingApproval rollout=db-1 severity=info", "Rollout shop/db-1 of db has waited for somebody for a day: AwaitingApproval."}},
		},
		{
			"rules that cannot be read", "RulesBroken", []string{`umbel_rules_broken{namespace="umbel-system",prometheusrule="own"} 1x5`}, 30 * time.Second, time.Minute,
			[]want{{"namespace=umbel-system prometheusrule=own severity=warning", "PrometheusRule umbel-system/own cannot be read: what it said before goes on."}},
		},
		{
			"a node that is not ready", "NodeNotReady", []string{`kube_node_status_condition{job="state",cluster="a",node="n",condition="Ready",status="true"} 0x30`, `kube_node_status_condition{job="state",cluster="a",node="n",condition="Ready",status="false"} 1x30`}, 9 * time.Minute, 10 * time.Minute,
			[]want{{"cluster=a condition=Ready job=state node=n severity=warning status=true", "Node n of cluster a is not ready."}},
		},
		{
			"a node whose disk is full", "NodePressure", []string{`kube_node_status_condition{job="state",cluster="a",node="n",condition="DiskPressure",status="true"} 1x30`, `kube_node_status_condition{job="state",cluster="a",node="m",condition="DiskPressure",status="true"} 0x30`}, 4 * time.Minute, 5 * time.Minute,
			[]want{{"cluster=a condition=DiskPressure job=state node=n severity=warning status=true", "Node n of cluster a has DiskPressure: it evicts pods."}},
		},
		{
			"a container that ends again and again, beside one that is only starting", "PodCrashLooping",
			[]string{`kube_pod_container_status_waiting_reason{job="state",cluster="a",namespace="shop",pod="web-1",container="c",reason="CrashLoopBackOff"} 1x30`, `kube_pod_container_status_waiting_reason{job="state",cluster="a",namespace="shop",pod="web-2",container="c",reason="ContainerCreating"} 1x30`}, 9 * time.Minute, 10 * time.Minute,
			[]want{{"cluster=a container=c job=state namespace=shop pod=web-1 reason=CrashLoopBackOff severity=warning", "Container c of pod shop/web-1 on cluster a does not run: CrashLoopBackOff."}},
		},
		{
			"a quota that is used to 95 %, beside one of nothing", "QuotaNearLimit",
			[]string{
				`kube_resourcequota{job="state",cluster="a",namespace="shop",resourcequota="q",resource="pods",type="hard"} 20x30`, `kube_resourcequota{job="state",cluster="a",namespace="shop",resourcequota="q",resource="pods",type="used"} 19x30`,
				`kube_resourcequota{job="state",cluster="a",namespace="shop",resourcequota="q",resource="services",type="hard"} 0x30`, `kube_resourcequota{job="state",cluster="a",namespace="shop",resourcequota="q",resource="services",type="used"} 0x30`,
			}, 14 * time.Minute, 15 * time.Minute,
			[]want{{"cluster=a job=state namespace=shop resource=pods resourcequota=q severity=info", "Quota q of namespace shop on cluster a is used to 95%: pods."}},
		},
		{
			"an API server of which every tenth answer is an error", "APIServerErrors",
			[]string{`apiserver_request_total{job="apiserver",cluster="a",code="200"} 0+90x30`, `apiserver_request_total{job="apiserver",cluster="a",code="500"} 0+10x30`, `apiserver_request_total{job="apiserver",cluster="b",code="200"} 0+99x30`, `apiserver_request_total{job="apiserver",cluster="b",code="503"} 0+1x30`}, 9 * time.Minute, 13 * time.Minute,
			[]want{{"cluster=a severity=critical", "The API server of cluster a answers 10% of its requests with an error of its own."}},
		},
		{
			"a kubelet that is not reached", "TargetDown", []string{`up{cluster="a",job="kubelet",instance="n"} 0x30`, `up{cluster="a",job="apiserver",instance="apiserver"} 1x30`}, 14 * time.Minute, 15 * time.Minute,
			[]want{{"cluster=a instance=n job=kubelet severity=info", "The agent of cluster a cannot measure kubelet of n."}},
		},
	}
	fired := map[string]bool{}
	for _, c := range cases {
		t.Run(c.alert+": "+c.reason, func(t *testing.T) {
			e := shipped(t, c.series...)
			group, rule := find(t, e, c.alert)
			step := group.Interval()
			if c.at > 12*time.Hour {
				step = 10 * time.Minute
			}
			for at := time.Duration(0); at <= c.at; at += step {
				group.Eval(t.Context(), hour.Add(at))
				if at == c.not && at > 0 && firingOf(rule) != nil {
					t.Errorf("after %s it fires already: %v", at, firingOf(rule))
				}
			}
			if rule.LastError() != nil {
				t.Fatal(rule.LastError())
			}
			var got []want
			for _, alert := range firingOf(rule) {
				fired[c.alert] = true
				set := labels.NewBuilder(alert.Labels).Del("alertname").Labels()
				var pairs []string
				set.Range(func(l labels.Label) { pairs = append(pairs, l.Name+"="+l.Value) })
				got = append(got, want{strings.Join(pairs, " "), alert.Annotations.Get("summary")})
				if command := alert.Annotations.Get("command"); command == "" || strings.Contains(command, "no value") {
					t.Errorf("it names no command: %q", command)
				}
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("firing (-want +got):\n%s", diff)
			}
		})
	}
	for _, group := range shipped(t).Groups() {
		for _, rule := range group.AlertingRules() {
			if !fired[rule.Name()] {
				t.Errorf("%s is never shown to fire", rule.Name())
			}
		}
	}
}

func inDays(n int) string {
	return strconv.FormatInt(hour.Add(time.Duration(n)*24*time.Hour).Unix(), 10)
}

func find(t *testing.T, e *Engine, name string) (*rules.Group, *rules.AlertingRule) {
	t.Helper()
	for _, group := range e.Groups() {
		for _, rule := range group.AlertingRules() {
			if rule.Name() == name {
				return group, rule
			}
		}
	}
	t.Fatalf("no alert %s is shipped", name)
	return nil, nil
}

func firingOf(rule *rules.AlertingRule) (firing []*rules.Alert) {
	for _, alert := range rule.ActiveAlerts() {
		if alert.State == rules.StateFiring {
			firing = append(firing, alert)
		}
	}
	slices.SortFunc(firing, func(a, b *rules.Alert) int { return labels.Compare(a.Labels, b.Labels) })
	return firing
}

// TestRecordedUsage: what the hub records of each cluster is the sum of its nodes.
func TestRecordedUsage(t *testing.T) {
	e := shipped(t, `node_memory_working_set_bytes{job="kubelet-resource",cluster="a",instance="n"} 3x10`, `node_memory_working_set_bytes{job="kubelet-resource",cluster="a",instance="m"} 4x10`, `node_memory_working_set_bytes{job="kubelet-resource",cluster="b",instance="n"} 5x10`)
	for _, group := range e.Groups() {
		if group.Name() == "umbel-usage" {
			group.Eval(t.Context(), hour.Add(5*time.Minute))
			q, err := group.Queryable().Querier(hour.UnixMilli(), hour.Add(time.Hour).UnixMilli())
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			got := map[string]float64{}
			for set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "cluster:node_memory_working_set_bytes:sum")); set.Next(); {
				it := set.At().Iterator(nil)
				it.Next()
				_, got[set.At().Labels().Get("cluster")] = it.At()
			}
			if diff := cmp.Diff(map[string]float64{"a": 7, "b": 5}, got); diff != "" {
				t.Error(diff)
			}
			return
		}
	}
	t.Fatal("no group umbel-usage is shipped")
}
