package gateway

import (
	"net/http"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// historian makes a person who may read all members, and nothing else.
func (h *hub) historian(namespace string) func(method, path string) (int, string) {
	h.t.Helper()
	config := h.person(namespace, "historian")
	meta := metav1.ObjectMeta{Name: namespace + "-historian"}
	h.create(&rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters"}, Verbs: []string{"get"}}}})
	h.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "historian"}},
	})
	h.may("system:serviceaccount:"+namespace+":historian", authorizationv1.ResourceAttributes{Group: "umbel.dev", Resource: "memberclusters", Verb: "get"})
	return func(method, path string) (int, string) { return h.knock(config, method, path) }
}

// TestAnAgentThatKeepsNoHistory: its API server answers, and the hub says what that means, to who may read the member.
func TestAnAgentThatKeepsNoHistory(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	h.joined("prod-eu")
	asks, stranger := h.historian(namespace), h.person(namespace, "stranger")
	for _, c := range []struct {
		reason, method, path string
		code                 int
		want                 string
	}{
		{"an agent of before", "GET", "prod-eu", http.StatusNotImplemented, `there is no history of cluster \"prod-eu\": its agent is of a version that does not keep it`},
		{"a member that is not connected", "GET", "offline", http.StatusServiceUnavailable, `cluster \"offline\" is not connected`},
		{"to write", "POST", "prod-eu", http.StatusMethodNotAllowed, "for reading"},
		{"a name that none can have", "GET", "a..%2fb", http.StatusNotFound, "NAME"},
		{"a path below", "GET", "prod-eu/x", http.StatusNotFound, "NAME"},
	} {
		code, text := asks(c.method, v1alpha1.HistoryPath+c.path)
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: answered %d %s, want %d with %q", c.reason, code, text, c.code, c.want)
		}
	}
	if code, text := h.knock(stranger, "GET", v1alpha1.HistoryPath+"prod-eu"); code != http.StatusForbidden {
		t.Errorf("a stranger is answered %d %s", code, text)
	}
	if code, _ := h.knock(nil, "GET", v1alpha1.HistoryPath+"prod-eu"); code != http.StatusUnauthorized {
		t.Errorf("nobody is answered %d", code)
	}
	lines, _ := h.recorded("system:serviceaccount:" + namespace + ":stranger")
	if got := strings.Join(lines, ", "); got != "get prod-eu memberclusters/prod-eu 403" {
		t.Errorf("of the stranger it is recorded %q", got)
	}
}

// TestAHistoryIsAskedForAtAnyReplica: the question finds the agent wherever it is in session.
func TestAHistoryIsAskedForAtAnyReplica(t *testing.T) {
	f := newFleet(t)
	clusters, _ := f.join(3)
	f.sessions(clusters, "hub-0", "hub-1", "hub-2")
	asks := f.historian(kubetest.Namespace(t, f.api))
	for range f.replicas { // the balancer takes turns
		for _, cluster := range clusters {
			f.eventually("the agent of "+string(cluster)+" was asked", func() (bool, string) {
				code, text := asks(http.MethodGet, v1alpha1.HistoryPath+string(cluster))
				return code == http.StatusNotImplemented, text
			})
		}
	}
}
