package clitest_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	asked "umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// membersOf has a server stand for the hub's door. Behind it prod-eu is the test's own API server, as prod-ap is, which
// comes to the fleet here; dev never answers, and the hub lets nobody through to lab. What is around goes before that.
func (f *fleet) membersOf(t *testing.T, around ...func(http.Handler) http.Handler) {
	t.Helper()
	hub, err := f.factory(nil, nil).Connect()
	if err != nil {
		t.Fatal(err)
	}
	to := doorTo(t, hub)
	for _, wrap := range around {
		to = wrap(to)
	}
	door := httptest.NewTLSServer(to)
	t.Cleanup(door.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})
	f.openDoor(t, strings.TrimPrefix(door.URL, "https://"), string(ca))
	for name, env := range map[string]string{"prod-ap": "prod", "lab": "lab"} {
		cluster := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"env": env}}}
		cluster.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
		cluster.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonProbeAnswered, LastTransitionTime: metav1.Now(),
		}}
		f.create(t, cluster)
	}
	for _, name := range []string{"words", "names"} {
		f.create(t, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, Labels: map[string]string{"app": "shop", "name": name}},
			Data:       map[string]string{"a": "1"},
		})
	}
	f.create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "words", Labels: map[string]string{"app": "shop"}}})
}

func doorTo(t *testing.T, hub *client.Hub) http.Handler {
	t.Helper()
	target, _, err := rest.DefaultServerUrlFor(hub.Config)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(hub.Config)
	if err != nil {
		t.Fatal(err)
	}
	api := &httputil.ReverseProxy{Transport: transport, Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: target.Scheme, Host: target.Host}) }}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, _ := strings.CutPrefix(r.URL.Path, "/clusters/")
		cluster, path, _ := strings.Cut(rest, "/")
		r.URL.Path = "/" + path
		switch cluster {
		case "prod-eu", "prod-ap":
			api.ServeHTTP(w, r)
		case "dev":
			<-r.Context().Done()
		default:
			kubeproxy.WriteError(w, http.StatusForbidden, fmt.Sprintf("user %q may not reach cluster %q", "ada", cluster))
		}
	})
}

var age = regexp.MustCompile(`(?m) +\d+[smh]\d*s?$`)

func TestGetFromMembers(t *testing.T) {
	f := newFleet(t)
	f.membersOf(t)
	const lost = "cluster \"prod-us\": cluster \"prod-us\" is not connected: the agent has not answered a probe since 11:56 (ProbeTimeout); it was last seen 4m ago; " +
		"`umbel describe cluster prod-us` says what to do\n"
	part := func(failed, of int) string {
		return fmt.Sprintf("error: %d of %s could not be read whole: this is not all that there is\n", failed, v1alpha1.Counted(of, "cluster"))
	}
	cases := []struct {
		reason, args string
		want         said
	}{
		{
			reason: "one table, by cluster, namespace and name; what is not connected is said", args: "get cm -A -l app=shop --clusters env=prod",
			want: said{Out: "" +
				"CLUSTER   NAMESPACE   NAME    DATA   AGE\n" +
				"prod-ap   default     words   0   AGE\n" +
				"prod-ap   team-a      names   1   AGE\n" +
				"prod-ap   team-a      words   1   AGE\n" +
				"prod-eu   default     words   0   AGE\n" +
				"prod-eu   team-a      names   1   AGE\n" +
				"prod-eu   team-a      words   1   AGE\n",
				Err: lost + part(1, 3), Code: 1},
		},
		{
			reason: "one that does not answer, and one that refuses", args: "get cm -n team-a --clusters env!=prod,env --no-headers --timeout 4s",
			want: said{Err: "cluster \"dev\": it did not answer within 4s: --timeout gives it longer\n" +
				"cluster \"lab\": user \"ada\" may not reach cluster \"lab\"\n" + part(2, 2), Code: 1},
		},
		{
			reason: "a field selector, and names for scripts", args: "get configmaps -A --field-selector metadata.name=names --clusters region=eu,env=prod -o name",
			want: said{Out: "prod-eu configmap/names\n"},
		},
		{
			reason: "a name that exists and one that does not", args: "get configmap names nope -n team-a --clusters region=eu,env=prod --no-headers",
			want: said{Out: "prod-eu   names   1   AGE\n", Err: "cluster \"prod-eu\": configmaps \"nope\" not found\n" + part(1, 1), Code: 1},
		},
		{
			reason: "a kind of a group, of the whole cluster", args: "get clusterroles.rbac.authorization.k8s.io/view --clusters region=eu,env=prod -o name",
			want: said{Out: "prod-eu clusterrole.rbac.authorization.k8s.io/view\n"},
		},
		{
			reason: "a kind that it does not have", args: "get bananas --clusters region=eu,env=prod",
			want: said{Err: "cluster \"prod-eu\": it has no kind \"bananas\": `umbel kubectl prod-eu -- api-resources` lists them\n" + part(1, 1), Code: 1},
		},
		{
			reason: "nothing there is no error", args: "get pods --clusters region=eu,env=prod",
			want: said{Err: "No resources found\n"},
		},
		{
			reason: "nobody is asked", args: "get pods --clusters env=none",
			want: said{Err: "No clusters match env=none (of 6 clusters)\n"},
		},
	}
	for _, c := range cases {
		t.Run(c.reason, func(t *testing.T) {
			got := f.run(t.Context(), strings.Fields(c.args)...)
			got.Out = age.ReplaceAllString(got.Out, "   AGE")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("umbel %s (-want +got):\n%s", c.args, diff)
			}
		})
	}
}

func TestGetFromMembersAsAList(t *testing.T) {
	f := newFleet(t)
	f.membersOf(t)
	var list struct {
		Kind  string
		Items []corev1.ConfigMap
	}
	read(t, f.run(t.Context(), "get", "cm", "-n", "team-a", "-l", "app=shop", "--clusters", "env=prod,region!=us", "-o", "json"), &list)
	var got []string
	for _, item := range list.Items {
		got = append(got, item.Annotations[v1alpha1.ClusterAnnotation]+" "+item.Kind+" "+item.Name)
		if item.ManagedFields != nil {
			t.Errorf("%s has managed fields, which nobody reads", item.Name)
		}
	}
	want := []string{"prod-ap ConfigMap names", "prod-ap ConfigMap words", "prod-eu ConfigMap names", "prod-eu ConfigMap words"}
	if diff := cmp.Diff(want, got); diff != "" || list.Kind != "List" {
		t.Errorf("a %s of (-want +got):\n%s", list.Kind, diff)
	}
}

// TestGetFromMembersReadsEveryPage of more objects than one has.
func TestGetFromMembersReadsEveryPage(t *testing.T) {
	f := newFleet(t)
	f.membersOf(t)
	const many = 501
	for i := range many {
		f.create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: fmt.Sprintf("many-%d", i), Labels: map[string]string{"app": "many"}}})
	}
	got := f.run(t.Context(), "get", "cm", "-n", "team-a", "-l", "app=many", "--clusters", "region=eu,env=prod", "-o", "name")
	if lines := strings.Count(got.Out, "\n"); lines != many || got.Code != 0 {
		t.Errorf("got %d objects, want %d: %s", lines, many, got.Err)
	}
}

func TestGetFromMembersMisused(t *testing.T) {
	f := newFleet(t)
	for args, want := range map[string]string{
		"get pods --clusters env=(prod)":              "the selector \"env=(prod)\" cannot be read: unable to parse requirement: found '(', expected: identifier",
		"get pods --clusters env=prod -l a=(b)":       "the selector \"a=(b)\" cannot be read: unable to parse requirement: found '(', expected: identifier",
		"get pods --clusters env=prod --all-clusters": "give --clusters or --all-clusters, not both",
		"get pods --clusters=":                        "--clusters is empty: --all-clusters asks every cluster",
		"get pods --all-clusters -w":                  "clusters cannot be watched together: leave --watch out, or watch one with `umbel kubectl`",
		"get clusters --timeout 1s":                   "--timeout is for objects of clusters: add --clusters LABELS or --all-clusters",
		"get pods --all-clusters --timeout 0s":        "--timeout has to be more than nothing",
		"get pods,services --all-clusters":            "\"pods,services\" is several kinds: ask for one at a time",
		"get pod/a pod/b --all-clusters":              "name several objects as KIND NAME NAME...",
		"get pod a -A --all-clusters":                 "an object is named within one namespace: give it with -n instead of -A",
		"get pod a -l b=c --all-clusters":             "give names or a selector, not both",
		"get --all-clusters":                          "say which kind, as kubectl knows it: pods, deployments.apps",
	} {
		if diff := cmp.Diff(said{Err: "error: " + want + "\n", Code: 2}, f.run(t.Context(), strings.Fields(args)...)); diff != "" {
			t.Errorf("umbel %s (-want +got):\n%s", args, diff)
		}
	}
}

// TestFind: objects are found by their name, or by a pattern of it; what is not known of a cluster is said.
func TestFind(t *testing.T) {
	f := newFleet(t)
	f.membersOf(t)
	hub, err := f.factory(nil, nil).Connect()
	if err != nil {
		t.Fatal(err)
	}
	var list v1alpha1.MemberClusterList
	if err := hub.ListClusters(t.Context(), &list, labels.Everything()); err != nil {
		t.Fatal(err)
	}
	members, err := asked.Members(t.Context(), f.factory(nil, nil), hub, list.Items)
	if err != nil {
		t.Fatal(err)
	}
	var quick, slow []asked.Member
	for _, m := range members {
		if strings.HasPrefix(string(m.Cluster), "prod-") {
			quick = append(quick, m)
		} else {
			slow = append(slow, m)
		}
	}
	for _, c := range []struct {
		reason, name string
		query        asked.Query
		want         []string
	}{
		{"by name, in every namespace", "words", asked.Query{Kind: "cm"}, []string{
			"prod-ap: ConfigMap default/words Data 0", "prod-ap: ConfigMap team-a/words Data 1", "prod-eu: ConfigMap default/words Data 0", "prod-eu: ConfigMap team-a/words Data 1",
		}},
		{"where nobody answers", "nobody", asked.Query{Kind: "cm"}, []string{
			"dev: it did not answer within 4s: ask again", "lab: user \"ada\" may not reach cluster \"lab\"",
		}},
		{"by a pattern, in one", "n*s", asked.Query{Kind: "cm", Namespace: "team-a"}, []string{"prod-ap: ConfigMap team-a/names Data 1", "prod-eu: ConfigMap team-a/names Data 1"}},
		{"among the first", "*", asked.Query{Kind: "cm", Namespace: "team-a", Most: 1, Labels: "app=shop"}, []string{
			"prod-ap: ConfigMap team-a/names Data 1", "prod-ap: and more", "prod-eu: ConfigMap team-a/names Data 1", "prod-eu: and more",
		}},
		{"of the whole cluster", "view", asked.Query{Kind: "clusterroles"}, []string{"prod-ap: ClusterRole /view Created At", "prod-eu: ClusterRole /view Created At"}},
		{"of a kind that there is not", "a", asked.Query{Kind: "bananas"}, []string{"prod-ap: none", "prod-eu: none"}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			answers := slow
			c.query.Timeout, c.query.Late = 4*time.Second, "ask again"
			if c.name != "nobody" {
				answers, c.query.Timeout = quick, time.Minute
			}
			found, err := asked.Find(t.Context(), answers, c.query, c.name)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for found := range found {
				if found.Cluster == "prod-us" || found.Cluster == "edge" { // they are not connected
					continue
				}
				say := func(what string) { got = append(got, string(found.Cluster)+": "+what) }
				for _, o := range found.Objects {
					say(strings.TrimSpace(found.Kind.Kind + " " + o.Namespace + "/" + o.Name + " " + createdAt.ReplaceAllString(strings.Join(o.Printed, ", "), "Created At")))
				}
				if found.None {
					say("none")
				}
				if found.More {
					say("and more")
				}
				if found.Err != nil {
					say(found.Err.Error())
				}
			}
			slices.SortStableFunc(got, func(a, b string) int { // as they come
				return strings.Compare(strings.SplitN(a, ":", 2)[0], strings.SplitN(b, ":", 2)[0])
			})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for name, query := range map[string]asked.Query{"a": {Kind: "cm/a"}, "[*": {Kind: "cm"}, "b": {Kind: "all"}} {
		query.Timeout = time.Minute
		if _, err := asked.Find(t.Context(), members, query, name); err == nil {
			t.Errorf("%q of %q is looked for", name, query.Kind)
		}
	}
	for what, want := range map[string]string{"cm/words": "", "cm/nobody": `"nobody" not found`, "bananas/words": "it has no kind"} {
		kind, name, _ := strings.Cut(what, "/")
		one, err := asked.Read(t.Context(), quick[0], asked.Query{Kind: kind, Namespace: "team-a", Names: []string{name}, Timeout: time.Minute})
		if want == "" && (err != nil || one.GetKind() != "ConfigMap" || one.GetNamespace() != "team-a" || one.GetName() != name) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s is read as %v, %v, want %q", what, one, err, want)
		}
	}
}

// createdAt is a time that an API server prints.
var createdAt = regexp.MustCompile(`Created At \S+`)
