package console

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ofGrafana is a dashboard as Grafana exports it, of which not all is drawn here.
const ofGrafana = `{"title": "Ours", "schemaVersion": 39, "time": {"from": "now-6h", "to": "now"}, "templating": {"list": [{"name": "cluster"}]}, "panels": [
	{"type": "timeseries", "title": "Memory", "fieldConfig": {"defaults": {"unit": "bytes"}}, "targets": [{"refId": "A", "expr": "sum(rate(x[$__rate_interval]))"}]},
	{"type": "text", "title": "Read me"},
	{"type": "row", "panels": [{"type": "stat", "targets": [{"expr": "up{cluster=~\"$cluster\"}"}]}]},
	{"type": "graph", "title": "Two", "targets": [{"expr": "hidden", "hide": true}, {"expr": "max_over_time(a[${__range}])"}, {"expr": "b{c=~\"d$\"}"}]}
]}`

// TestBoard: what of Grafana's dashboards is drawn here, and what is said of the rest.
func TestBoard(t *testing.T) {
	field, b, err := boardOf(map[string]string{"b.json": "no", "a.json": ofGrafana, "0.txt": "x"})
	if err != nil || field != "a.json" || b.Title != "Ours" || b.minutes() != 360 {
		t.Fatalf("got %q, %+v, %d minutes, %v", field, b, b.minutes(), err)
	}
	want := []DashboardPanel{
		{Title: "Memory", Query: "sum(rate(x[5m]))", Unit: "bytes"},
		{Title: "Read me", Not: "it has no query of PromQL: Grafana shows it, as a panel of type text"},
		{Title: "Untitled", Query: `up{cluster=~"$cluster"}`, Not: "its query asks for $cluster, which people choose in Grafana"},
		{Title: "Two (the first of 2 queries)", Query: "max_over_time(a[360m])"},
	}
	if diff := cmp.Diff(want, b.panels()); diff != "" {
		t.Errorf("the panels (-want +got):\n%s", diff)
	}
	for reason, c := range map[string]struct {
		data map[string]string
		want string
	}{
		"nothing": {nil, "no field that ends in .json"}, "a text": {map[string]string{"a.txt": "x"}, "no field that ends in .json"},
		"no JSON": {map[string]string{"a.json": "x"}, "data[a.json] is no dashboard in JSON"}, "a list": {map[string]string{"a.json": "[]"}, "data[a.json] is no dashboard in JSON"},
	} {
		if _, _, err := boardOf(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", reason, err, c.want)
		}
	}
	for from, want := range map[string]int{"": 60, "now-30s": 1, "now-15m": 15, "now-1d": 1440, "now-2w": 20160, "now-99999w": 44640, "2026-01-01": 60, "now-1d/d": 60} {
		b.Time.From = from
		if got := b.minutes(); got != want {
			t.Errorf("from %q is %d minutes, want %d", from, got, want)
		}
	}
}

// TestDashboards: people see the dashboards of the namespaces that they may read, and delete the one that they saw.
func TestDashboards(t *testing.T) {
	h := newHub(t, nil)
	config := func(namespace, name string, labels map[string]string, data string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}, Data: map[string]string{name + ".json": data}}
	}
	label := map[string]string{dashboardLabel: "1"}
	ours := config("default", "ours", label, ofGrafana)
	reads := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "console-reads"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: reads.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: reads.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: "carol"}},
	}
	for _, o := range []client.Object{ours, config("default", "broken", label, "no"), config("default", "other", nil, ofGrafana), config("kube-system", "theirs", label, `{"title":"All"}`), reads, binding} {
		if err := h.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.client.Delete(context.WithoutCancel(t.Context()), o); client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		})
	}
	h.allows("system:serviceaccount:default:carol", &authorizationv1.ResourceAttributes{Namespace: "default", Resource: "configmaps", Verb: "list"})
	ada, bob, carol := h.browser(), h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", ""))
	carol.signIn(h.token("carol", ""))
	broken, of := DashboardRow{"default", "broken", "broken"}, DashboardRow{"default", "ours", "Ours"}
	for _, c := range []struct {
		reason string
		who    *browser
		want   []DashboardRow
	}{
		{"who may all", ada, []DashboardRow{{"kube-system", "theirs", "All"}, of, broken}},
		{"who may read a namespace", carol, []DashboardRow{of, broken}},
		{"who may nothing", bob, []DashboardRow{}},
	} {
		var page DashboardPage
		c.who.reads("/console/api/dashboards", &page)
		if diff := cmp.Diff(c.want, page.Rows); diff != "" {
			t.Errorf("%s sees (-want +got):\n%s", c.reason, diff)
		}
	}
	var seen Dashboard
	carol.reads("/console/api/dashboards/default/broken", &seen)
	if !strings.Contains(seen.Problem, "data[broken.json] is no dashboard") {
		t.Errorf("of one that is broken it is said %q", seen.Problem)
	}
	const at = "/console/api/dashboards/default/ours"
	bob.want("who may not read it", bob.ask(http.MethodGet, at, ""), http.StatusForbidden, "bob")
	ada.want("no dashboard", ada.ask(http.MethodGet, "/console/api/dashboards/default/other", ""), http.StatusNotFound, "has no label grafana_dashboard")
	seen = Dashboard{}
	carol.reads(at, &seen)
	if seen.Title != "Ours" || seen.Field != "ours.json" || seen.Minutes != 360 || len(seen.Panels) != 4 || seen.Problem != "" {
		t.Errorf("it is %+v", seen)
	}
	if deed := seen.Deeds[0]; deed.Not != `that takes the verb "delete" on configmaps "ours" in namespace "default"` || deed.Kubectl != "kubectl delete configmaps ours -n default" {
		t.Errorf("who may not delete it is told %+v", deed)
	}
	seen = Dashboard{}
	ada.reads(at, &seen)
	deletes := func(uid string) answered {
		body := `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"` + uid + `"}}`
		return ada.ask(http.MethodDelete, "/console/k8s"+seen.Deeds[0].Path, body, "Content-Type", "application/json", ownHeader, "1")
	}
	ada.want("another that is called so", deletes("another"), http.StatusConflict, "")
	ada.want("the one that was seen", deletes(seen.Deeds[0].Deletes), http.StatusOK, "")
	if err := h.client.Get(t.Context(), client.ObjectKeyFromObject(ours), ours); !apierrors.IsNotFound(err) {
		t.Errorf("it is there: %v", err)
	}
}
