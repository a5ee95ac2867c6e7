package clitest_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// drifted has clusters tell of what others changed there.
func (f *fleet) drifted(t *testing.T) {
	t.Helper()
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(f.now.Add(-d)) }
	for name, change := range map[string]func(*v1alpha1.MemberPackage){
		"prod-eu": func(p *v1alpha1.MemberPackage) {
			p.Drifts = []v1alpha1.Drift{
				{Object: "Deployment.apps shop/web", Action: v1alpha1.DriftFought, By: "autoscaler", Fields: []string{"spec.replicas"}, Time: ago(10 * time.Second), Count: 9},
				{Object: "Role shop/pod-reader", Action: v1alpha1.DriftRepaired, Deleted: true, Time: ago(2 * time.Hour), Count: 1},
			}
		},
		"prod-us": func(p *v1alpha1.MemberPackage) {
			p.Drifting = 1
			p.Drifts = []v1alpha1.Drift{{
				Object: "ConfigMap shop/storefront", Action: v1alpha1.DriftReported, By: "kubectl-edit", Time: ago(3 * time.Minute), Count: 1,
				Fields: []string{"data.greeting", "metadata.labels[app.kubernetes.io/name]"},
			}}
		},
	} {
		var cluster v1alpha1.MemberCluster
		if err := f.api.Get(t.Context(), kube.ObjectKey{Name: name}, &cluster); err != nil {
			t.Fatal(err)
		}
		change(&cluster.Status.Packages[0])
		if err := f.api.Status().Update(t.Context(), &cluster); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDrift(t *testing.T) {
	f := newFleet(t)
	if diff := cmp.Diff(said{Err: "Nothing drifted, as far as the agents know since they started.\nnot connected, so what is shown may be old: prod-us\n"}, f.run(t.Context(), "drift")); diff != "" {
		t.Errorf("a fleet that nobody touched (-want +got):\n%s", diff)
	}
	f.drifted(t)
	const old = "not connected, so what is shown may be old: prod-us\n"
	const left = "prod-us: 1 object of package default/shop is left as it is, since its drift is only reported\n"
	for _, c := range []struct {
		reason string
		args   string
		want   said
	}{
		{
			reason: "the latest first, on all clusters", args: "drift",
			want: said{Err: left + old, Out: "" +
				"CLUSTER   PACKAGE   OBJECT                      WHAT                                                    BY             ACTION     AGE\n" +
				"prod-eu   shop      Deployment.apps shop/web    spec.replicas                                           autoscaler     Fought     10s\n" +
				"prod-us   shop      ConfigMap shop/storefront   data.greeting,metadata.labels[app.kubernetes.io/name]   kubectl-edit   Reported   3m\n" +
				"prod-eu   shop      Role shop/pod-reader        deleted                                                 -              Repaired   120m\n"},
		},
		{
			reason: "how often, and exactly when; of one package in one region", args: "drift package/shop --clusters region=eu -o wide --no-headers",
			want: said{Err: "by field managers alone, since the hub's audit log was not to be had: the hub has not said yet where it is reached (ConfigMap umbel-system/hub-info): it has not finished starting\n", Out: "" +
				"prod-eu   shop   Deployment.apps shop/web   spec.replicas   autoscaler   Fought     10s    9   " + f.now.Add(-10*time.Second).UTC().Format(time.RFC3339) + "\n" +
				"prod-eu   shop   Role shop/pod-reader       deleted         -            Repaired   120m   1   " + f.now.Add(-2*time.Hour).UTC().Format(time.RFC3339) + "\n"},
		},
		{reason: "the clusters, for a script", args: "drift -A -o name", want: said{Out: "membercluster.umbel.dev/prod-eu\nmembercluster.umbel.dev/prod-us\n"}},
		{reason: "another namespace", args: "drift -n team-a", want: said{Err: "Nothing drifted, as far as the agents know since they started.\n"}},
		{reason: "nothing, as a list", args: "drift -n team-a -o yaml", want: said{Out: "[]\n"}},
		{reason: "a package that is not there did not fail to drift", args: "drift nope", want: said{Err: "error: there is no package \"nope\" in namespace \"default\": `umbel get packages -A` lists all\n", Code: 1}},
		{reason: "a name and all namespaces", args: "drift shop -A", want: said{Err: "error: a package is named within one namespace: give it with -n instead of -A\n", Code: 2}},
		{reason: "two names", args: "drift shop web", want: said{Err: "error: accepts at most 1 arg(s), received 2: `umbel drift --help` shows examples\n", Code: 2}},
		{reason: "a selector that cannot be read", args: "drift --clusters a=(b)", want: said{Err: "error: the selector \"a=(b)\" cannot be read: unable to parse requirement: found '(', expected: identifier\n", Code: 2}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, f.run(t.Context(), strings.Fields(c.args)...)); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
	var all []struct {
		Cluster, Package, Object, Action, By string
		Fields                               []string
		Deleted                              bool
		Count                                int
	}
	out := f.run(t.Context(), "drift", "-A", "-o", "json")
	if err := json.Unmarshal([]byte(out.Out), &all); err != nil || len(all) != 3 {
		t.Fatalf("%v in:\n%s", err, out.Out)
	}
	if first := all[0]; first.Cluster != "prod-eu" || first.Package != "default/shop" || first.Action != "Fought" || first.Count != 9 || first.Fields[0] != "spec.replicas" {
		t.Errorf("got %+v", first)
	}
}

// TestDriftByWhom: who came through the hub is named, and nobody who did something else, elsewhere, at another time, or tried.
func TestDriftByWhom(t *testing.T) {
	f := newFleet(t)
	f.drifted(t)
	d := f.keepsADiary(t)
	const web, storefront = "/apis/apps/v1/namespaces/shop/deployments/web", "/api/v1/namespaces/shop/configmaps/storefront"
	for _, r := range []struct {
		ago                        time.Duration
		who, cluster, method, path string
		code                       int
	}{
		{4 * time.Minute, "early", "prod-us", http.MethodPatch, storefront, 200},
		{3 * time.Minute, "grace", "prod-us", http.MethodPatch, storefront, 200},
		{3*time.Minute - time.Second, "reads", "prod-us", http.MethodGet, storefront, 200},
		{3*time.Minute - time.Second, "deletes", "prod-us", http.MethodDelete, storefront, 200},
		{3*time.Minute - time.Second, "tries", "prod-us", http.MethodPatch, storefront, 409},
		{3*time.Minute - time.Second, "elsewhere", "prod-eu", http.MethodPatch, storefront, 200},
		{12 * time.Second, "earlier", "prod-eu", http.MethodPut, web, 200},
		{11 * time.Second, "ada", "prod-eu", http.MethodPatch, web, 200},
		{10 * time.Second, "plans", "prod-eu", http.MethodPatch, web + "?dryRun=All&fieldManager=umbel", 200},
		{10 * time.Second, "status", "prod-eu", http.MethodPatch, web + "/status", 200},
		{5 * time.Second, "late", "prod-eu", http.MethodPatch, web, 200},
	} {
		d.request(r.ago, r.who, r.cluster, r.method, r.path, r.code)
	}
	want := said{
		Err: "prod-us: 1 object of package default/shop is left as it is, since its drift is only reported\nnot connected, so what is shown may be old: prod-us\n",
		Out: "" +
			"prod-eu   shop   Deployment.apps shop/web    spec.replicas                                           ada (autoscaler)       Fought     10s\n" +
			"prod-us   shop   ConfigMap shop/storefront   data.greeting,metadata.labels[app.kubernetes.io/name]   grace (kubectl-edit)   Reported   3m\n" +
			"prod-eu   shop   Role shop/pod-reader        deleted                                                 -                      Repaired   120m\n",
	}
	if diff := cmp.Diff(want, f.run(t.Context(), "drift", "--no-headers")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if out := f.run(t.Context(), "drift", "-o", "json"); !strings.Contains(out.Out, `"user": "ada"`) {
		t.Errorf("got %s", out.Out)
	}

	var cluster v1alpha1.MemberCluster
	if err := f.api.Get(t.Context(), kube.ObjectKey{Name: "prod-eu"}, &cluster); err != nil {
		t.Fatal(err)
	}
	cluster.Status.Packages[0].Drifts[0].User, cluster.Status.Packages[0].Drifts[1].User = "carol", "eve"
	if err := f.api.Status().Update(t.Context(), &cluster); err != nil {
		t.Fatal(err)
	}
	want.Out = strings.NewReplacer("ada (autoscaler)       ", "carol (autoscaler)     ", "-                      Repaired", "eve                    Repaired").Replace(want.Out)
	if diff := cmp.Diff(want, f.run(t.Context(), "drift", "--no-headers")); diff != "" {
		t.Errorf("what a cluster's own log says comes first (-want +got):\n%s", diff)
	}
}

// TestDriftSince: with --since the agents are asked what they wrote down, of each package that is meant; of a cluster that cannot be asked it
// is what the hub knows.
func TestDriftSince(t *testing.T) {
	f := newFleet(t)
	f.drifted(t)
	var asked atomic.Pointer[string]
	answer := func(w http.ResponseWriter, _ *http.Request) {
		lines := json.NewEncoder(w)
		for id, entry := range []v1alpha1.HistoryEntry{
			{Package: "default/shop", Drift: v1alpha1.Drift{Object: "ConfigMap shop/old", Action: v1alpha1.DriftRepaired, By: "kubectl-edit", User: "ada", Fields: []string{"data.x"}, Time: metav1.NewTime(f.now.Add(-50 * time.Hour)), Count: 1}},
			{Package: "team-a/other", Drift: v1alpha1.Drift{Object: "ConfigMap a/b", Action: v1alpha1.DriftRepaired, By: "kubectl", Time: metav1.NewTime(f.now.Add(-40 * time.Hour)), Count: 1}},
			{Package: "default/shop", Release: "shop-2", Cause: v1alpha1.DeletionWithinBudget, Deletion: "3f9a2c1b",
				Drift: v1alpha1.Drift{Object: "ConfigMap shop/gone", Action: v1alpha1.HistoryPruned, Deleted: true, Time: metav1.NewTime(f.now.Add(-30 * time.Hour)), Count: 1}},
			{Package: "default/shop", Cause: v1alpha1.DeletionRemoved, Deletion: "00000001",
				Drift: v1alpha1.Drift{Object: "ConfigMap shop/last", Action: v1alpha1.HistoryPruned, Deleted: true, Time: metav1.NewTime(f.now.Add(-20 * time.Hour)), Count: 1}},
		} {
			entry.ID = int64(id + 1)
			if err := lines.Encode(entry); err != nil {
				t.Error(err)
			}
		}
	}
	says := answer
	door := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == audit.Path {
			kubeproxy.WriteError(w, http.StatusForbidden, "you may not")
			return
		}
		if r.URL.Path != "/history/prod-eu" {
			return // nothing happened there
		}
		at := r.URL.String()
		asked.Store(&at)
		says(w, r)
	}))
	t.Cleanup(door.Close)
	f.openDoor(t, strings.TrimPrefix(door.URL, "https://"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})))
	const away = "not connected, so no more is known than the latest ten of each package, which may be old: edge, prod-us\n"
	const left = "prod-us: 1 object of package default/shop is left as it is, since its drift is only reported\n"
	want := said{Err: away + left, Out: "" +
		"prod-us   shop   ConfigMap shop/storefront   data.greeting,metadata.labels[app.kubernetes.io/name]   kubectl-edit         Reported   3m\n" +
		"prod-eu   shop   ConfigMap shop/last         deleted                                                 package removed      Pruned     20h\n" +
		"prod-eu   shop   ConfigMap shop/gone         deleted                                                 release shop-2       Pruned     30h\n" +
		"prod-eu   shop   ConfigMap shop/old          data.x                                                  ada (kubectl-edit)   Repaired   2d2h\n"}
	if diff := cmp.Diff(want, f.run(t.Context(), "drift", "--since", "7d", "--no-headers")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if at, want := *asked.Load(), "/history/prod-eu?since="+url.QueryEscape(f.now.Add(-7*24*time.Hour).UTC().Format(time.RFC3339)); at != want {
		t.Errorf("asked was %s, want %s", at, want)
	}
	wide := f.run(t.Context(), "drift", "shop", "--clusters", "region=eu", "--since", "7d", "-o", "wide")
	for _, want := range []string{"TIMES   AT                     DELETION", f.now.Add(-30*time.Hour).UTC().Format(time.RFC3339) + "   3f9a2c1b\n"} {
		if !strings.Contains(wide.Out, want) {
			t.Errorf("got\n%swant %q", wide.Out, want)
		}
	}
	var all []struct{ Cluster, Package, Object, Action, Release, Deletion string }
	out := f.run(t.Context(), "drift", "-A", "--since", "7d", "-o", "json")
	if err := json.Unmarshal([]byte(out.Out), &all); err != nil || len(all) != 5 {
		t.Fatalf("%v in:\n%s", err, out.Out)
	}
	if got := all[3]; all[4].Object != "ConfigMap shop/old" || got.Package != "team-a/other" || all[2].Release != "shop-2" || all[2].Deletion != "3f9a2c1b" {
		t.Errorf("got %+v", all)
	}
	if out := f.run(t.Context(), "drift", "--clusters", "region=eu", "--since", "7d", "-o", "yaml"); !strings.Contains(out.Out, "deletion: 3f9a2c1b") {
		t.Errorf("got %+v", out)
	}
	if !strings.HasPrefix(out.Err, away) {
		t.Errorf("a program is not told of whom nothing is known: %s", out.Err)
	}
	for args, want := range map[string]string{
		"--clusters region=eu":         "Nothing happened since 7d; --since looks further back\n",
		"":                             away + "Nothing is known to have happened since 7d; 2 clusters could not be asked\n",
		"--clusters region=us -o name": "not connected, so no more is known than the latest ten of each package, which may be old: prod-us\n",
	} {
		if out := f.run(t.Context(), strings.Fields("drift -n nowhere --since 7d "+args)...); out != (said{Err: want}) {
			t.Errorf("%s: got %+v, want %q", args, out, want)
		}
	}
	if out := f.run(t.Context(), "drift", "--since", "yesterday"); out.Code != 2 || !strings.Contains(out.Err, `--since: "yesterday" is neither`) {
		t.Errorf("got %+v", out)
	}
	for reason, c := range map[string]struct {
		says func(http.ResponseWriter, *http.Request)
		want string
	}{
		"an agent of before": {func(w http.ResponseWriter, _ *http.Request) {
			kubeproxy.WriteError(w, http.StatusNotImplemented, `there is no history of cluster "prod-eu": its agent is of a version that does not keep it`)
		}, "prod-eu: no more is known than the latest ten of each package since its agent started: there is no history of cluster"},
		"an answer that breaks off": {func(w http.ResponseWriter, r *http.Request) {
			answer(w, r)
			w.Write([]byte(`{"id":7,"package":`)) //nolint:errcheck // it is cut off anyway
		}, "its answer breaks off: unexpected EOF"},
	} {
		says = c.says
		got := f.run(t.Context(), "drift", "shop", "--clusters", "region=eu", "--since", "7d", "--no-headers")
		if !strings.Contains(got.Err, c.want) || !strings.Contains(got.Out, "Deployment.apps shop/web") || strings.Contains(got.Out, "shop/old") {
			t.Errorf("%s: got %+v, want what the hub knows, and %q", reason, got, c.want)
		}
		got = f.run(t.Context(), "drift", "-n", "nowhere", "--clusters", "region=eu", "--since", "7d")
		if !strings.Contains(got.Err, c.want) || !strings.HasSuffix(got.Err, "Nothing is known to have happened since 7d; 1 cluster could not be asked\n") {
			t.Errorf("%s, and nothing is known: got %+v", reason, got)
		}
	}
	ctx, interrupt := context.WithCancel(t.Context())
	says = func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	}
	if got := f.run(ctx, "drift", "--since", "7d", "-o", "json"); got.Code != exit.Interrupted || got.Out != "" || strings.Contains(got.Err, "no more is known") {
		t.Errorf("somebody ended it while it asked: got %+v", got)
	}
}
