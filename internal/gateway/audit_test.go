package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/kube/kubetest"
	"umbel.dev/umbel/internal/session"
)

// recorded returns what the audit log has of a user, as VERB CLUSTER OBJECT CODE.
func (h *hub) recorded(user string) (lines []string, events []auditv1.Event) {
	h.t.Helper()
	_, err := h.audit.Read(h.t.Context(), audit.Query{User: user}, func(line []byte) error {
		var e auditv1.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		object := ""
		if e.ObjectRef != nil {
			object = e.ObjectRef.Resource + "/" + e.ObjectRef.Name
		}
		code := int32(0)
		if e.ResponseStatus != nil {
			code = e.ResponseStatus.Code
		}
		events, lines = append(events, e), append(lines, fmt.Sprint(e.Verb, " ", e.Annotations[audit.ClusterAnnotation], " ", object, " ", code))
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return lines, events
}

// auditor lets a person read the audit log: of clusters, or of everything.
func (h *hub) auditor(namespace, name string, clusters ...string) {
	h.t.Helper()
	role := metav1.ObjectMeta{Name: namespace + "-" + name + "-audits"}
	h.create(&rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters/audit"}, ResourceNames: clusters, Verbs: []string{"get"},
	}}})
	h.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: role, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	})
	h.may("system:serviceaccount:"+namespace+":"+name, authorizationv1.ResourceAttributes{
		Group: "umbel.dev", Resource: "memberclusters", Subresource: "audit", Name: strings.Join(clusters, ""), Verb: "get", // of one, or of all
	})
}

// knock speaks to the door as somebody.
func (h *hub) knock(who *rest.Config, method, path string) (int, string) {
	h.t.Helper()
	request, err := http.NewRequestWithContext(h.t.Context(), method, "https://"+h.address+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if who != nil {
		request.Header.Set("Authorization", "Bearer "+who.BearerToken)
	}
	answer, err := h.web(nil).Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer.StatusCode, readAll(h.t, answer)
}

func TestWhatPeopleDoIsRecorded(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	alice, bob := h.person(namespace, "alice", "prod-eu"), h.person(namespace, "bob")
	user := "system:serviceaccount:" + namespace + ":"
	for _, c := range []struct {
		who  *rest.Config
		name string
	}{{alice, "alice"}, {bob, "bob"}} {
		clients, err := kubernetes.NewForConfig(c.who)
		if err != nil {
			t.Fatal(err)
		}
		if err := clients.CoreV1().ConfigMaps(namespace).Delete(t.Context(), "x", metav1.DeleteOptions{}); err == nil {
			t.Errorf("%s deleted what is not there", c.name)
		}
	}
	lines, events := h.recorded(user + "alice")
	want := "delete prod-eu configmaps/x 0, delete prod-eu configmaps/x 403"
	if got := strings.Join(lines, ", "); got != want {
		t.Errorf("of alice, whom the member refuses, it has %s, want %s", got, want)
	}
	if events[0].AuditID != events[1].AuditID || events[0].Annotations[audit.MemberUserAnnotation] != "hub:"+user+"alice" {
		t.Errorf("got %+v", events)
	}
	lines, events = h.recorded(user + "bob")
	if got := strings.Join(lines, ", "); got != "delete prod-eu configmaps/x 403" {
		t.Errorf("of bob, whom the hub refuses, it has %s", got)
	}
	mustContain(t, "the reason", events[0].Annotations[audit.RefusedAnnotation], `may not reach cluster "prod-eu"`)
}

// TestTheHubsOwnAPI: what people do there has their name, and the cluster that it is about.
func TestTheHubsOwnAPI(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	alice := h.person(namespace, "alice")
	if code, text := h.knock(alice, "DELETE", "/hub/apis/umbel.dev/v1alpha1/memberclusters/prod-eu?gracePeriodSeconds=0"); code != 403 {
		t.Fatalf("answered %d %s", code, text)
	}
	lines, events := h.recorded("system:serviceaccount:" + namespace + ":alice")
	want := "delete prod-eu memberclusters/prod-eu 0, delete prod-eu memberclusters/prod-eu 403"
	if got := strings.Join(lines, ", "); got != want || !strings.HasPrefix(events[0].RequestURI, "/hub/apis/") {
		t.Errorf("it says %s at %s, want %s", got, events[0].RequestURI, want)
	}
}

func TestWhoReadsTheAuditLog(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	stranger, one, all := h.person(namespace, "alice"), h.person(namespace, "one"), h.person(namespace, "all")
	h.auditor(namespace, "one", "prod-eu")
	h.auditor(namespace, "all")
	for _, c := range []struct {
		reason, method, query string
		who                   *rest.Config
		code                  int
		want                  string
	}{
		{"nobody", "GET", "", nil, 401, "no credentials"},
		{"who may not", "GET", "?cluster=prod-eu", stranger, 403, `the verb \"get\" on memberclusters.umbel.dev/audit \"prod-eu\"`},
		{"of a cluster that one may", "GET", "?cluster=prod-eu", one, 200, `"verb":"issue"`},
		{"of another as well", "GET", "?cluster=prod-eu&cluster=dev", one, 403, `the audit log of cluster \"dev\"`},
		{"of all", "GET", "", one, 403, "name a cluster"},
		{"who may read all", "GET", "", all, 200, `"verb":"issue"`},
		{"a query that is misspelt", "GET", "?usr=alice", all, 400, "is not one of cluster, user"},
		{"writing", "DELETE", "", all, 405, "for reading"},
	} {
		code, text := h.knock(c.who, c.method, audit.Path+c.query)
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: answered %d %s, want %d and %q", c.reason, code, text, c.code, c.want)
		}
		if c.code == 200 && !strings.Contains(text, `"kind":"Status"`) {
			t.Errorf("%s: nothing says that it is all: %s", c.reason, text)
		}
	}
	lines, _ := h.recorded("system:serviceaccount:" + namespace + ":one")
	if got := strings.Join(lines, ", "); got != "get   200, get   403, get   403" {
		t.Errorf("of who has read it, it says %q", got)
	}
}

// TestFollowing: what happens from now on comes as it happens.
func TestFollowing(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	all := h.person(namespace, "all")
	h.auditor(namespace, "all")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", "https://"+h.address+audit.Path+"?follow=true&verb=issue", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+all.BearerToken)
	answer, err := h.web(nil).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	h.joined("prod-eu")
	var event auditv1.Event
	if err := json.NewDecoder(answer.Body).Decode(&event); err != nil || event.Annotations[audit.ClusterAnnotation] != "prod-eu" {
		t.Errorf("got %+v, %v", event, err)
	}
	cancel()
	io.Copy(io.Discard, answer.Body)
}

func TestWhatTheHubDoesToMembersIsRecorded(t *testing.T) {
	h := newHub(t)
	a := h.joined("prod-eu")
	shop := &wire.Assignment{Package: "default/shop", Release: "shop-1", Revision: "r1", Repository: "packages/default.shop", Digest: "sha256:1", Size: 1}
	h.desires.set("prod-eu", session.DesiredSet{Assign: map[v1alpha1.PackageKey]*wire.Assignment{"default/shop": shop}}, true)
	h.eventually("the package is held", func() (bool, string) {
		held := h.member("prod-eu").Status.Packages
		return len(held) == 1 && held[0].Phase == v1alpha1.PackageApplied, fmt.Sprint(held)
	})
	h.desires.set("prod-eu", session.DesiredSet{Remove: []v1alpha1.PackageKey{"default/shop"}}, true)
	h.eventually("the package is not held", func() (bool, string) {
		held := h.member("prod-eu").Status.Packages
		return len(held) == 0, fmt.Sprint(held)
	})
	h.leave("prod-eu")
	a.leaves()
	h.gone("prod-eu")
	if err := h.post(session.JoinRequest{Cluster: "prod-eu", Token: "wrong"}); err == nil {
		t.Error("a join without a request for a certificate was granted")
	}
	lines, events := h.recorded(audit.HubUser)
	text := "\n" + strings.Join(lines, "\n") + "\n"
	at := 0
	for _, want := range []string{
		"\nissue prod-eu memberclusters/prod-eu 200\n", "\nhold prod-eu packages/shop 200\n", "\nremove prod-eu packages/shop 200\n",
		"\ndetach prod-eu memberclusters/prod-eu 200\n", "\nrefuse ",
	} {
		found := strings.Index(text[at:], want)
		if found < 0 {
			t.Fatalf("it does not say %q, in its order:\n%s", want, text)
		}
		at += found + len(want) - 1
	}
	for _, e := range events {
		if e.Verb == "hold" && (e.Annotations["umbel.dev/release"] != "shop-1" || e.Annotations["umbel.dev/digest"] != "sha256:1") {
			t.Errorf("got %+v", e)
		}
		if e.Verb == "issue" && (len(e.Annotations["umbel.dev/key"]) != 64 || len(e.SourceIPs) != 1) {
			t.Errorf("got %+v", e)
		}
	}
}
