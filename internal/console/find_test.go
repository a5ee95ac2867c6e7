package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"

	"umbel.dev/umbel/api/v1alpha1"
	members "umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/plan"
	"umbel.dev/umbel/internal/cli/view"
)

// TestSearchOf: what is asked, and how a terminal asks the same.
func TestSearchOf(t *testing.T) {
	for _, c := range []struct{ query, want string }{
		{"kind=deployments&name=web", "umbel get deployments -A --all-clusters --field-selector metadata.name=web"},
		{"kind=pods&name=shop/web-*&clusters=env+in+(prod,dev)", "umbel get pods -n shop --clusters 'env in (dev,prod)'"},
		{"kind=pods&name=it's", `umbel get pods -A --all-clusters --field-selector 'metadata.name=it'\''s'`},
		{"kind=pods", "say which kind"}, {"name=web", "say which kind"}, {"kind=pods&name=shop/", "say which kind"},
		{"kind=pods&name=web&clusters=a+b", "the labels of the clusters cannot be read"}, {"kind=pods&name=" + strings.Repeat("x", 700), "that long"},
	} {
		query, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		asked, err := searchOf(query)
		if err != nil && !strings.Contains(err.Error(), c.want) || err == nil && asked.command() != c.want {
			t.Errorf("%.40s: %v, want %q", c.query, err, c.want)
			if err == nil {
				t.Error(asked.command())
			}
		}
	}
}

// TestFoundPage: what was found is shown up to a number, and where it was not looked is named up to another.
func TestFoundPage(t *testing.T) {
	object := func(name string) members.Object {
		o := members.Object{Printed: []string{"Ready 1/1"}}
		o.Namespace, o.Name, o.Labels = "shop", name, map[string]string{v1alpha1.PackageLabel: "default.shop"}
		return o
	}
	page, rows, unasked := &FoundPage{Asked: 4 + 2*maxNames}, 0, []plan.Unasked{}
	said := func(found members.Found) *FoundLine {
		line := page.add(found)
		if rows += len(line.Rows); line.Unasked != nil {
			unasked = append(unasked, *line.Unasked)
		}
		return line
	}
	kind := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	want := FoundLine{Page: FoundPage{Asked: page.Asked, Said: 1, Found: 1}, Rows: []FoundRow{{
		Cluster: "a", Kind: "Deployment", Namespace: "shop", Name: "web", Says: []string{"Ready 1/1"}, Package: "default/shop", Word: "deployment.apps",
		Kubectl: "umbel kubectl a -- get deployment.apps web -n shop",
	}}}
	if diff := cmp.Diff(want, *said(members.Found{Cluster: "a", Kind: kind, Objects: []members.Object{object("web")}})); diff != "" {
		t.Errorf("the first (-want +got):\n%s", diff)
	}
	said(members.Found{Cluster: "b", None: true})
	said(members.Found{Cluster: "c", Err: errors.New("one\ntwo")})
	said(members.Found{Cluster: "d", Kind: kind, More: true, Objects: make([]members.Object, maxFound+7)})
	named := []plan.Unasked{{Cluster: "c", Reason: "one; two"}, {Cluster: "d", Reason: "it has more than 500: these are among the first"}}
	counts := FoundPage{Asked: page.Asked, Said: 4, Found: maxFound + 8, Without: 1, Unread: 2}
	if diff := cmp.Diff(named, unasked) + cmp.Diff(counts, *page); diff != "" || rows != maxFound {
		t.Errorf("%d rows (-want +got):\n%s", rows, diff)
	}
	for range 2 * maxNames {
		said(members.Found{Cluster: "e", Err: errors.New("no")})
	}
	if len(unasked) != maxNames || page.Unread != 2+2*maxNames || page.Said != page.Asked {
		t.Errorf("of %d clusters that were not read %d are named; %d of %d have answered", page.Unread, len(unasked), page.Said, page.Asked)
	}
}

// TestForemost: of too many clusters those are asked that can answer.
func TestForemost(t *testing.T) {
	var clusters []v1alpha1.MemberCluster
	for n := range maxSearched + 50 {
		one := v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(rune('a'+n%26)) + strings.Repeat("x", n/26)}}
		if n >= 100 {
			one.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionConnected, Status: metav1.ConditionTrue}}
		}
		clusters = append(clusters, one)
	}
	m := view.Moment{Now: noon, Pulse: view.Pulse{Heard: noon, Lasts: time.Minute}}
	got, connected := foremost(m, clusters), 0
	for i := range got {
		if m.IsConnected(&got[i]) {
			connected++
		}
	}
	if len(got) != maxSearched || connected != maxSearched-50 {
		t.Errorf("%d are asked, %d of them connected", len(got), connected)
	}
}

// TestFind: the clusters that somebody may see are asked, as them; one that cannot be is named.
func TestFind(t *testing.T) {
	h := newHub(t, nil)
	for _, name := range []string{"eu", "us"} {
		if err := h.client.Create(t.Context(), &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"region": name}}}); err != nil {
			t.Fatal(err)
		}
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "console-of-eu"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, Verbs: []string{"get"}, ResourceNames: []string{"eu"}},
	}}
	if err := h.client.Create(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.client.Delete(context.WithoutCancel(t.Context()), role); err != nil {
			t.Error(err)
		}
	})
	ada, bob, eve := h.browser(), h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", ""))
	eve.signIn(h.token("eve", role.Name))
	const at = "/console/api/find?kind=pods&name=web"
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return strings.Contains(ada.ask(http.MethodGet, "/console/api/clusters", "").body, `"total":2`), nil
	})
	if err != nil {
		t.Fatal("clusters that were made are not in the list")
	}
	ada.want("who may all", ada.ask(http.MethodGet, at, ""), http.StatusOK, `"asked":2,"of":2,"said":2,"found":0,"without":0,"unread":2,`)
	ada.want("one of them is named", ada.ask(http.MethodGet, at, ""), http.StatusOK, `{"cluster":"eu","reason":"cluster \"eu\" is not connected`)
	ada.want("clusters with a label", ada.ask(http.MethodGet, at+"&clusters=region=us", ""), http.StatusOK, `"asked":1,"of":1,"said":1,`)
	eve.want("who may see one", eve.ask(http.MethodGet, at, ""), http.StatusOK, `"asked":1,"of":1,"said":1,`)
	bob.want("who may see none", bob.ask(http.MethodGet, at, ""), http.StatusForbidden, "memberclusters")
	ada.want("several kinds", ada.ask(http.MethodGet, "/console/api/find?kind=pods,jobs&name=web", ""), http.StatusBadRequest, "is several kinds")
	ada.want("a kind with a name", ada.ask(http.MethodGet, "/console/api/find?kind=pods/web&name=a/w*", ""), http.StatusBadRequest, "is a kind and a name")
	ada.want("no name", ada.ask(http.MethodGet, "/console/api/find?kind=pods", ""), http.StatusBadRequest, "say which kind")
	for range cap(h.console.searches) {
		if _, err := h.console.searches.begin(t.Context(), "searches"); err != nil {
			t.Fatal(err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.console.searches.begin(over, "searches"); err == nil || !strings.Contains(err.Error(), "other searches are being made") {
		t.Errorf("one more than there may be: %v", err)
	}
}
