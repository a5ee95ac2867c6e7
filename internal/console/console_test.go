package console

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestTheDoor: who comes in, by what, and what a browser is told of that.
func TestTheDoor(t *testing.T) {
	h := newHub(t, nil)
	b := h.browser()
	b.want("nobody", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusUnauthorized, "not signed in")
	b.want("a token that is none", b.signIn("wrong"), http.StatusUnauthorized, "does not accept")
	in := b.signIn(h.token("ada", "cluster-admin"))
	b.want("a token", in, http.StatusOK, "system:serviceaccount:default:ada")
	if set := in.header.Get("Set-Cookie"); !strings.HasPrefix(set, "__Host-umbel=") || !strings.Contains(set, "; Path=/; Max-Age=") ||
		!strings.HasSuffix(set, "; HttpOnly; Secure; SameSite=Strict") {
		t.Errorf("the session's cookie is %q", set)
	}
	b.want("the session", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, "system:serviceaccount:default:ada")
	var me Me
	if err := json.Unmarshal([]byte(b.ask(http.MethodGet, "/console/api/me", "").body), &me); err != nil {
		t.Fatal(err)
	}
	if life := me.Ends.Sub(me.Since); life > time.Hour+time.Minute || life < 50*time.Minute { // as long as the token
		t.Errorf("a session for a token of an hour lasts %s", life)
	}
	t.Run("the cookie opens the console alone", func(t *testing.T) {
		for _, path := range []string{"/hub/api/v1/namespaces", "/clusters/any/api", "/v1/audit", "/api/v1/query?query=up", "/history/any", "/content/a/b/c"} {
			b.want(path, b.ask(http.MethodGet, path, ""), http.StatusUnauthorized, "")
		}
	})
	t.Run("nothing but the cookie opens the console", func(t *testing.T) {
		b := h.browser()
		b.want("a token in a header", b.ask(http.MethodGet, "/console/api/me", "", "Authorization", "Bearer "+h.token("ada", "")), http.StatusUnauthorized, "not signed in")
		pair, err := tls.X509KeyPair(h.api.CertData, h.api.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		b = h.browser(pair)
		err = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
			return b.ask(http.MethodGet, "/hub/api/v1/namespaces/default", "").code == http.StatusOK, nil // once the hub knows who issues certificates
		})
		if err != nil {
			t.Error("the certificate of an administrator opens nothing elsewhere")
		}
		b.want("the certificate of an administrator", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusUnauthorized, "not signed in")
	})
	t.Run("a cookie that was made elsewhere", func(t *testing.T) {
		c := h.browser()
		sealed := b.cookies[sessionCookie].Value
		for reason, value := range map[string]string{
			"changed": sealed[:len(sealed)-2] + "AA", "cut": sealed[:20], "empty": "", "not base64": "!", "of another hub": strings.Repeat("A", len(sealed)),
		} {
			c.cookies[sessionCookie] = &http.Cookie{Name: sessionCookie, Value: value}
			c.want(reason, c.ask(http.MethodGet, "/console/api/me", ""), http.StatusUnauthorized, "not signed in")
		}
		forVisits, err := seal(h.console.keys.aead(), forVisit, session{User: "eve", Born: time.Now().UnixMilli(), Ends: time.Now().Add(time.Hour).UnixMilli()})
		if err != nil {
			t.Fatal(err)
		}
		c.cookies[sessionCookie] = &http.Cookie{Name: sessionCookie, Value: forVisits}
		c.want("sealed for something else", c.ask(http.MethodGet, "/console/api/me", ""), http.StatusUnauthorized, "not signed in")
		twice := c.ask(http.MethodGet, "/console/api/me", "", "Cookie", sessionCookie+"="+sealed+"; "+sessionCookie+"="+sealed)
		c.want("two of them", twice, http.StatusUnauthorized, "not signed in")
	})
	t.Run("a session ends", func(t *testing.T) {
		h.ahead.Store(int64(time.Until(me.Ends) - time.Minute))
		b.want("before its time", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, "ada")
		h.ahead.Store(int64(time.Until(me.Ends) + time.Minute))
		b.want("after its time", b.ask(http.MethodGet, "/console/api/me", ""), http.StatusUnauthorized, "your session has ended")
		h.ahead.Store(0)
	})
}

// TestSignOutEverywhere: every session of a person ends, on all replicas, and those of others do not.
func TestSignOutEverywhere(t *testing.T) {
	h := newHub(t, nil)
	ada, bob := h.token("ada", "cluster-admin"), h.token("bob", "")
	here, there, other := h.browser(), h.browser(), h.browser()
	here.signIn(ada)
	there.signIn(ada)
	other.signIn(bob)
	first := h.address
	h.start(nil)
	there.want("the other replica knows the session", there.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, "ada")
	second := h.address
	h.address = first
	out := here.ask(http.MethodPost, "/console/api/signout", `{"everywhere": true}`, ownHeader, "1")
	here.want("signing out", out, http.StatusOK, "")
	if len(here.cookies) > 0 {
		t.Errorf("a browser that was signed out keeps %v", here.cookies)
	}
	there.want("elsewhere, on this replica", there.ask(http.MethodGet, "/console/api/me", ""), http.StatusUnauthorized, "ended everywhere")
	other.want("somebody else", other.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, "bob")
	h.address = second
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return there.ask(http.MethodGet, "/console/api/me", "").code == http.StatusUnauthorized, nil
	})
	if err != nil {
		t.Error("the other replica goes on with a session that was ended")
	}
	here.want("who signs in again", here.signIn(ada), http.StatusOK, "ada")
	here.want("and is in", here.ask(http.MethodGet, "/console/api/me", ""), http.StatusOK, "ada")
}

// TestWhoDeletesTheKeyEndsAllSessions: the hub makes another.
func TestWhoDeletesTheKeyEndsAllSessions(t *testing.T) {
	h := newHub(t, nil)
	b := h.browser()
	b.signIn(h.token("ada", ""))
	if err := h.clients.CoreV1().Secrets(v1alpha1.SystemNamespace).Delete(t.Context(), keysSecret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return b.ask(http.MethodGet, "/console/api/me", "").code == http.StatusUnauthorized, nil
	})
	if err != nil {
		t.Error("a session is good that was sealed with the key before")
	}
	b.want("who signs in again", b.signIn(h.token("ada", "")), http.StatusOK, "ada")
}

// TestForeign: what another page could have a browser ask for is refused.
func TestForeign(t *testing.T) {
	h := newHub(t, nil)
	b := h.browser()
	b.signIn(h.token("ada", "cluster-admin"))
	own := "https://" + h.address
	for _, c := range []struct {
		reason, method string
		headers        []string
		code           int
	}{
		{"a form", http.MethodPost, []string{"Content-Type", "application/x-www-form-urlencoded"}, http.StatusForbidden},
		{"a form of this origin", http.MethodPost, []string{"Origin", own}, http.StatusForbidden},
		{"a script of another origin", http.MethodPost, []string{ownHeader, "1", "Origin", "https://evil.example"}, http.StatusForbidden},
		{"a script of no origin, as in a sandbox", http.MethodPost, []string{ownHeader, "1", "Origin", "null"}, http.StatusForbidden},
		{"a script of another port", http.MethodPost, []string{ownHeader, "1", "Origin", own + "1"}, http.StatusForbidden},
		{"a script of another site", http.MethodPost, []string{ownHeader, "1", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		{"a script of another host of this site", http.MethodPost, []string{ownHeader, "1", "Sec-Fetch-Site", "same-site"}, http.StatusForbidden},
		{"another header of that name", http.MethodPost, []string{ownHeader, "yes"}, http.StatusForbidden},
		{"a stream of another origin", http.MethodGet, []string{"Connection", "Upgrade", "Upgrade", "websocket", "Origin", "https://evil.example"}, http.StatusForbidden},
		{"a stream of no browser", http.MethodGet, []string{"Connection", "Upgrade", "Upgrade", "websocket"}, http.StatusForbidden},
		{"the page itself", http.MethodPost, []string{ownHeader, "1", "Origin", own, "Sec-Fetch-Site", "same-origin"}, http.StatusOK},
	} {
		got := b.ask(c.method, "/console/api/signout", `{}`, c.headers...)
		if got.code != c.code {
			t.Errorf("%s: got %d %s, want %d", c.reason, got.code, got.body, c.code)
		}
	}
}

// TestPolicy: pages run what is embedded, and nothing else; and say so.
func TestPolicy(t *testing.T) {
	h := newHub(t, nil)
	b := h.browser()
	root := b.ask(http.MethodGet, "/", "", "Accept", "text/html,*/*")
	if root.code != http.StatusFound || root.header.Get("Location") != "/console/" {
		t.Errorf("a browser at the root is sent to %d %q", root.code, root.header.Get("Location"))
	}
	b.want("a program at the root", b.ask(http.MethodGet, "/", ""), http.StatusNotFound, "/clusters/NAME")
	page := b.ask(http.MethodGet, "/console/clusters/any?tab=nodes", "")
	b.want("any place in the console", page, http.StatusOK, `<div id="root">`)
	policy := page.header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "script-src https://" + h.address + "/console/assets/;", "style-src https://" + h.address + "/console/assets/;",
		"connect-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'none'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy %q allows what is unsafe", policy)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if got := page.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if strings.Contains(page.body, "<style") || strings.Contains(page.body, "<script>") || strings.Contains(page.body, " style=") {
		t.Errorf("the page has scripts or styles inline:\n%s", page.body)
	}
	script := page.body[strings.Index(page.body, "/console/assets/"):]
	for _, asset := range strings.Split(page.body, `"`) {
		if !strings.HasPrefix(asset, "/console/assets/") {
			continue
		}
		got := b.ask(http.MethodGet, asset, "")
		if got.code != http.StatusOK || !strings.Contains(got.header.Get("Cache-Control"), "immutable") || got.header.Get("Content-Type") == "" {
			t.Errorf("%s: %d, %v", asset, got.code, got.header)
		}
		script = asset
	}
	b.want("an asset of another version", b.ask(http.MethodGet, script+".js", ""), http.StatusNotFound, "reload the page")
	b.want("a host that is no name", b.ask(http.MethodGet, "/console/", "", "Host", "x"), http.StatusOK, "root")
	evil := httptest.NewRequest(http.MethodGet, "/console/", nil)
	evil.Host = "evil.example; script-src *"
	guarded := http.Header{}
	guard(guarded, evil.Host)
	if policy := guarded.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'none'") || strings.Contains(policy, "evil") {
		t.Errorf("a host has the policy say %q", policy)
	}
}

// TestElsewhereIsASandbox: what a browser shows by itself of what members and the hub's API answer has no origin.
func TestElsewhereIsASandbox(t *testing.T) {
	h := newHub(t, nil)
	pair, err := tls.X509KeyPair(h.api.CertData, h.api.KeyData)
	if err != nil {
		t.Fatal(err)
	}
	b := h.browser(pair)
	for _, path := range []string{"/clusters/any/api/v1/namespaces/x/pods/y/proxy/", "/hub/api/v1/namespaces/default", "/v2/umbel/agent/manifests/x"} {
		for reason, headers := range map[string][]string{
			"somebody who opens it":   {"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"},
			"a page that frames it":   {"Sec-Fetch-Dest", "iframe"},
			"a browser that is old":   {"Accept", "text/html,application/xhtml+xml"},
			"a worker of some page's": {"Sec-Fetch-Dest", "serviceworker"},
		} {
			got := b.ask(http.MethodGet, path, "", headers...)
			if policy := got.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "sandbox;") {
				t.Errorf("%s, %s: the policy is %q", reason, path, policy)
			}
		}
		if got := b.ask(http.MethodGet, path, "", "Accept", "application/json"); got.header.Get("Content-Security-Policy") != "" {
			t.Errorf("kubectl at %s is told how to show it", path)
		}
		if got := b.ask(http.MethodGet, path, "", "Sec-Fetch-Dest", "document", "Authorization", "Bearer x"); got.header.Get("Content-Security-Policy") != "" {
			t.Errorf("a browser before `kubectl proxy` at %s is told how to show it", path)
		}
	}
}

// TestAnswersAreHarmless: what comes through the console is text or JSON, whatever a member calls it.
func TestAnswersAreHarmless(t *testing.T) {
	for kind, want := range map[string]string{
		"text/html": "text/plain; charset=utf-8", "application/json": "application/json; charset=utf-8", "image/svg+xml": "text/plain; charset=utf-8", "": "text/plain; charset=utf-8",
		"application/javascript": "text/plain; charset=utf-8", "text/plain": "text/plain; charset=utf-8", "text/html; charset=utf-8": "text/plain; charset=utf-8", ";": "text/plain; charset=utf-8",
	} {
		recorder := httptest.NewRecorder()
		w := &harmless{ResponseWriter: recorder}
		w.Header().Set("Content-Type", kind)
		for _, name := range []string{"Set-Cookie", "Location", "Clear-Site-Data", "Refresh", "Link", "Service-Worker-Allowed"} {
			w.Header().Set(name, "x")
		}
		w.Header().Add("Content-Security-Policy", "script-src *")
		io.WriteString(w, "<script>alert(1)</script>")
		got := recorder.Header()
		if got.Get("Content-Type") != want || got.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(got.Get("Content-Security-Policy"), "sandbox") || len(got["Content-Security-Policy"]) != 1 {
			t.Errorf("%q came out as %v", kind, got)
		}
		for _, name := range []string{"Set-Cookie", "Location", "Clear-Site-Data", "Refresh", "Link", "Service-Worker-Allowed"} {
			if got.Get(name) != "" {
				t.Errorf("%s comes through", name)
			}
		}
	}
}

// TestThrough: what goes through the console is asked as the person, with their rights, and nobody else's.
func TestThrough(t *testing.T) {
	h := newHub(t, nil)
	ada, bob := h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", ""))
	ada.want("an administrator", ada.ask(http.MethodGet, "/console/k8s/api/v1/namespaces/default", ""), http.StatusOK, `"name":"default"`)
	bob.want("who may nothing", bob.ask(http.MethodGet, "/console/k8s/api/v1/namespaces/default", ""), http.StatusForbidden, "system:serviceaccount:default:bob")
	for _, header := range []string{"Impersonate-User", "Impersonate-Group", "Umbel-Identity"} {
		got := bob.ask(http.MethodGet, "/console/k8s/api/v1/namespaces/default", "", header, "system:masters")
		bob.want("who says that they are somebody else by "+header, got, http.StatusForbidden, "")
	}
	bob.want("who has a token of somebody else", bob.ask(http.MethodGet, "/console/k8s/api/v1/namespaces/default", "", "Authorization", "Bearer "+h.token("ada", "")), http.StatusForbidden, "bob")
	for _, path := range []string{"namespaces/x/pods/y/proxy/", "namespaces/x/services/y/proxy", "nodes/n/proxy/metrics", "namespaces/x/pods/y/%70roxy/", "namespaces/%2e%2e/x",
		"proxy/namespaces/x/pods/y", "namespaces/x/pods/y%2fproxy/z"} {
		ada.want("what pods serve: "+path, ada.ask(http.MethodGet, "/console/k8s/api/v1/"+path, ""), http.StatusForbidden, "is not shown by the console")
	}
	ada.want("a namespace that is called proxy", ada.ask(http.MethodGet, "/console/k8s/api/v1/namespaces/proxy/pods", ""), http.StatusOK, `"PodList"`)
	ada.want("an object that is", ada.ask(http.MethodGet, "/console/k8s/api/v1/namespaces/default/configmaps/proxy", ""), http.StatusNotFound, "not found")
	ada.want("a cluster that there is not", ada.ask(http.MethodGet, "/console/clusters/any/k8s/api", ""), http.StatusServiceUnavailable, "not connected")
	bob.want("a cluster that one may not reach", bob.ask(http.MethodGet, "/console/clusters/any/k8s/api", ""), http.StatusForbidden, "may not reach cluster")
	for _, path := range []string{"fleet", "clusters", "clusters/any", "packages", "packages/a/b", "placements"} {
		bob.want("a list that one may not see: "+path, bob.ask(http.MethodGet, "/console/api/"+path, ""), http.StatusForbidden, "that takes the verb")
	}
	made := ada.ask(http.MethodPost, "/console/k8s/apis/umbel.dev/v1alpha1/memberclusters", `{"apiVersion":"umbel.dev/v1alpha1","kind":"MemberCluster","metadata":{"name":"made"}}`,
		ownHeader, "1", "Content-Type", "application/json")
	ada.want("a change", made, http.StatusCreated, "made")
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return strings.Contains(ada.ask(http.MethodGet, "/console/api/clusters", "").body, `"name":"made"`), nil
	})
	if err != nil {
		t.Error("a cluster that was made is not in the list")
	}
	ada.want("one cluster", ada.ask(http.MethodGet, "/console/api/clusters/made", ""), http.StatusOK, `"health":"Unknown"`)
	ada.want("one that is not there", ada.ask(http.MethodGet, "/console/api/clusters/other", ""), http.StatusNotFound, "there is no membercluster")
	ada.want("a search", ada.ask(http.MethodGet, "/console/api/search?q=mad", ""), http.StatusOK, `"path":"clusters/made"`)
}

// TestDesk: what the rooms of the command line read for the console, they read as the person, through the gateway's door.
func TestDesk(t *testing.T) {
	h := newHub(t, nil)
	ada, bob := h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	bob.signIn(h.token("bob", ""))
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}}
	pkg.Spec.PlacementRef.Name = "nowhere"
	object, err := v1alpha1.Inline(map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"namespace": "default", "name": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	pkg.Spec.Source.Inline = &v1alpha1.InlineSource{Objects: []v1alpha1.InlineObject{object}}
	if err := h.client.Create(t.Context(), pkg); err != nil {
		t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return ada.ask(http.MethodGet, "/console/api/packages/default/shop", "").code == http.StatusOK, nil
	})
	if err != nil {
		t.Fatal("a package that was made is not known")
	}
	plan := "/console/api/packages/default/shop/plan"
	ada.want("a package without a release", ada.ask(http.MethodGet, plan, ""), http.StatusNotFound, "has no release yet")
	ada.want("one of which the placement is missing", ada.ask(http.MethodGet, plan+"?release=shop-1", ""), http.StatusNotFound, `there is no placement`)
	bob.want("who may not see the package", bob.ask(http.MethodGet, plan, ""), http.StatusForbidden, "that takes the verb")
	ada.want("what drifted", ada.ask(http.MethodGet, "/console/api/packages/default/shop/drift", ""), http.StatusOK, `"rows":[]`)
	ada.want("what was lost", ada.ask(http.MethodGet, "/console/api/packages/default/shop/losses", ""), http.StatusOK, `"rows":[]`)
	for _, path := range []string{"alerts", "capacity"} {
		ada.want("a hub without metrics: "+path, ada.ask(http.MethodGet, "/console/api/"+path, ""), http.StatusNotFound, "keeps no metrics")
		bob.want("who may not list clusters: "+path, bob.ask(http.MethodGet, "/console/api/"+path, ""), http.StatusForbidden, "that takes the verb")
	}
	ada.want("all alerts at once", ada.ask(http.MethodGet, "/console/api/metrics/alerts", ""), http.StatusNotFound, "asks no such question")
	ada.want("capacity by what there is not", ada.ask(http.MethodGet, "/console/api/capacity?by=moons", ""), http.StatusBadRequest, "clusters, namespaces or teams")
}

// TestLevels: clusters are found by their level, which somebody changes as `umbel level` does; who may not is told what it takes.
func TestLevels(t *testing.T) {
	h := newHub(t, nil)
	made := map[string]string{v1alpha1.ManagedAnnotation: "default/made"}
	for _, member := range []v1alpha1.MemberCluster{{ObjectMeta: metav1.ObjectMeta{Name: "made", Annotations: made}}, {ObjectMeta: metav1.ObjectMeta{Name: "other"}}} {
		h.holds(&member)
	}
	ada, bob := h.browser(), h.browser()
	ada.signIn(h.token("ada", "cluster-admin"))
	reader := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reads-members"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"memberclusters"}, Verbs: []string{"get", "list"}},
	}}
	if err := h.client.Create(t.Context(), reader); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.client.Delete(context.WithoutCancel(t.Context()), reader); err != nil {
			t.Error(err)
		}
	})
	bob.signIn(h.token("reader", reader.Name))
	levels := func(level string) (names []string) {
		var page ClusterPage
		ada.reads("/console/api/clusters?f.level="+url.QueryEscape(level), &page)
		for _, row := range page.Rows {
			names = append(names, row.Name+" "+row.Level)
		}
		return names
	}
	becomes := func(level string, want ...string) {
		t.Helper()
		var got []string
		if wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
			got = levels(level)
			return cmp.Equal(want, got), nil
		}) != nil {
			t.Fatalf("of level %s are %v, want %v", level, got, want)
		}
	}
	says := func(b *browser, deed string) (found Deed) {
		t.Helper()
		var details ClusterDetails
		b.reads("/console/api/clusters/other", &details)
		for _, d := range details.Deeds {
			if d.Name == deed {
				return d
			}
		}
		t.Fatalf("nobody can %s it: %+v", deed, details.Deeds)
		return found
	}
	becomes("managed", "made managed")
	becomes("attached", "other attached")
	observe := says(ada, "observe")
	if observe.Umbel != "umbel level other observed" || !strings.Contains(observe.Kubectl, `'{"spec":{"level":"Observed"}}'`) || observe.Not != "" {
		t.Errorf("the deed is %+v", observe)
	}
	ada.want("who may", ada.does(observe, ""), http.StatusOK, `"level":"Observed"`)
	becomes("observed", "other observed")
	attach := says(bob, "attach")
	if !strings.Contains(attach.Not, `"patch" on memberclusters.umbel.dev "other"`) {
		t.Errorf("who may not is told %q", attach.Not)
	}
	bob.want("who may not, and tries", bob.does(attach, ""), http.StatusForbidden, "cannot patch resource")
	ada.want("who may again", ada.does(says(ada, "attach"), ""), http.StatusOK, `"level":"Attached"`)
	becomes("attached", "other attached")
}

// reads reads what the console answers.
func (b *browser) reads(path string, into any) {
	b.Helper()
	got := b.ask(http.MethodGet, path, "")
	if err := json.Unmarshal([]byte(got.body), into); err != nil || got.code != http.StatusOK {
		b.Fatalf("%s: %d %s (%v)", path, got.code, got.body, err)
	}
}

// TestSaving: a plan is saved as it was shown, in the API, by whoever may create Plans; who may not is told what it takes.
func TestSaving(t *testing.T) {
	h := newHub(t, nil)
	pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "shop"}}
	pkg.Spec.PlacementRef.Name = "nowhere"
	pkg.Spec.Source.OCI = &v1alpha1.OCISource{URL: "oci://registry.example.com/shop"}
	if err := h.client.Create(t.Context(), pkg); err != nil {
		t.Fatal(err)
	}
	saving := func(b *browser, who string) (Deed, string) {
		kept := &v1alpha1.Plan{TypeMeta: metav1.TypeMeta{APIVersion: "umbel.dev/v1alpha1", Kind: "Plan"}, ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "shop-"}}
		kept.Spec = v1alpha1.PlanSpec{
			PackageRef: v1alpha1.LocalReference{Name: "shop"}, Source: "release shop-1", Clusters: 200,
			Contents: []v1alpha1.PlannedContent{{Digest: "sha256:" + strings.Repeat("0", 64)}},
		}
		b.signIn(h.token(who, map[string]string{"ada": "cluster-admin"}[who]))
		sight := &PlanSight{Release: "shop-1", Asked: 200, Of: 500, Groups: []PlanGroup{{Count: 200, More: 7}}}
		deed, err := h.console.saving(t.Context(), &session{User: "system:serviceaccount:default:" + who}, pkg, sight, kept, []string{"A note."})
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(deed.Creates)
		if err != nil {
			t.Fatal(err)
		}
		return deed, string(body)
	}
	ada, bob := h.browser(), h.browser()
	deed, body := saving(ada, "ada")
	want := "What it says of 200 clusters is what may change there, where the package requires a plan, and nothing else. 300 clusters were not asked, and wait for another plan: the command asks all." +
		" Of 200 clusters it holds changes that are not shown here: `umbel plan` shows all. A note."
	if deed.Not != "" || deed.Means != want || deed.Umbel != "umbel plan shop --release shop-1 --save" {
		t.Errorf("who may all is told %+v", deed)
	}
	manifest, ok := strings.CutPrefix(deed.Kubectl, "kubectl create -f - <<'EOF'\n")
	twin, err := yaml.YAMLToJSON([]byte(strings.TrimSuffix(manifest, "EOF")))
	if err != nil || !ok || !strings.HasSuffix(manifest, "\nEOF") {
		t.Errorf("kubectl's twin is %s (%v)", deed.Kubectl, err)
	}
	if diff := cmp.Diff(changes(t, body), changes(t, string(twin))); diff != "" {
		t.Errorf("kubectl's twin makes something else (-page +kubectl):\n%s", diff)
	}
	at := "/console/k8s" + deed.Path
	ada.want("without the page's header", ada.ask(http.MethodPost, at, body, "Content-Type", "application/json"), http.StatusForbidden, ownHeader)
	ada.want("from elsewhere", ada.ask(http.MethodPost, at, body, "Content-Type", "application/json", ownHeader, "1", "Origin", "https://evil.example"), http.StatusForbidden, "not this console")
	ada.want("as the page does", ada.ask(http.MethodPost, at, body, "Content-Type", "application/json", ownHeader, "1"), http.StatusCreated, `"name":"shop-`)
	deed, body = saving(bob, "bob")
	if !strings.Contains(deed.Not, `"create" on plans.umbel.dev in namespace "default"`) {
		t.Errorf("who may nothing is told %q", deed.Not)
	}
	bob.want("who may not, and tries", bob.ask(http.MethodPost, at, body, "Content-Type", "application/json", ownHeader, "1"), http.StatusForbidden, "cannot create resource")
	var plans v1alpha1.PlanList
	if err := h.client.List(t.Context(), &plans); err != nil || len(plans.Items) != 1 || len(plans.Items[0].OwnerReferences) != 1 || plans.Items[0].OwnerReferences[0].UID != pkg.UID {
		t.Fatalf("there are the plans %+v (%v)", plans.Items, err)
	}
	if err := h.client.Delete(t.Context(), &plans.Items[0]); err != nil {
		t.Error(err)
	}
}

// TestManyWrongTokens: they are counted by address, and whoever has to wait is told how long; who knows a good one waits as well.
func TestManyWrongTokens(t *testing.T) {
	h := newHub(t, nil)
	b := h.browser()
	codes, began := map[int]int{}, time.Now()
	for n := range 40 {
		got := b.signIn(fmt.Sprintf("wrong-%d", n))
		codes[got.code]++
		if got.code == http.StatusTooManyRequests && got.header.Get("Retry-After") == "" {
			t.Error("who has to wait is not told how long")
		}
	}
	// Twenty are looked at, and one more for each second that passes.
	looked := codes[http.StatusUnauthorized]
	if took := time.Since(began); looked > 21+int(took.Seconds()) || looked+codes[http.StatusTooManyRequests] != 40 {
		t.Errorf("of 40 wrong tokens in a row, in %s: %v", took, codes)
	}
	token := h.token("ada", "")
	var got answered
	for n := 0; n < 100 && got.code != http.StatusTooManyRequests; n++ {
		if b.signIn("wrong").code == http.StatusTooManyRequests { // there is none left for now
			got = b.signIn(token)
		}
	}
	if got.code != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("who knows a good one is answered %d %s, want to wait and to be told how long", got.code, got.body)
	}
}

// TestManyGroups: a cookie holds so many and no more, and who is in more is told.
func TestManyGroups(t *testing.T) {
	h := newHub(t, nil)
	recorder := httptest.NewRecorder()
	who := &user.DefaultInfo{Name: "ada@example.com"}
	for n := range 200 {
		who.Groups = append(who.Groups, fmt.Sprintf("oidc:a-group-with-a-long-name-%d", n))
	}
	_, err := h.console.begin(recorder, who, time.Time{})
	if err == nil || !strings.Contains(err.Error(), "200 groups") || recorder.Header().Get("Set-Cookie") != "" {
		t.Errorf("got %v and %q", err, recorder.Header().Get("Set-Cookie"))
	}
	who.Groups = who.Groups[:50]
	if _, err := h.console.begin(recorder, who, time.Time{}); err != nil || recorder.Header().Get("Set-Cookie") == "" {
		t.Errorf("who is in 50 groups is not let in: %v", err)
	}
}

// TestPage: whoever signed in goes on to a page of the console, and nowhere else.
func TestPage(t *testing.T) {
	for to, want := range map[string]string{
		"/console/clusters?f.health=NotReady": "/console/clusters?f.health=NotReady", "": "/console/", "https://evil.example/console/": "/console/",
		"//evil.example/console/": "/console/", "/hub/": "/console/", "/console/\\evil": "/console/", "javascript:alert(1)": "/console/", "/console/../hub": "/console/",
	} {
		if got := page(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}
