package gateway

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// echo is a Metrics that answers with what it is asked.
type echo struct{}

func (echo) Write(w http.ResponseWriter, _ *http.Request, cluster v1alpha1.ClusterName) {
	fmt.Fprintf(w, "write of %s", cluster)
}

func (echo) Take(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "taken of another replica: ")
	_, _ = io.Copy(w, r.Body) // who asks sees what is missing
}

func (echo) Query(w http.ResponseWriter, r *http.Request, clusters []v1alpha1.ClusterName) {
	fmt.Fprintf(w, "%s of %v", r.URL.Path, clusters)
}

// TestWhoSeesMetrics: those of a cluster are for who may get memberclusters/metrics of that name, all of them for who may of all.
func TestWhoSeesMetrics(t *testing.T) {
	h := newHub(t)
	namespace := kubetest.Namespace(t, h.api)
	one, every, nobody := h.person(namespace, "one"), h.person(namespace, "every"), h.person(namespace, "nobody")
	for name, clusters := range map[string][]string{"one": {"prod-eu", "prod-us"}, "every": nil} {
		role := metav1.ObjectMeta{Name: namespace + "-" + name + "-metrics"}
		h.create(&rbacv1.ClusterRole{ObjectMeta: role, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"umbel.dev"}, Resources: []string{"memberclusters/metrics"}, ResourceNames: clusters, Verbs: []string{"get"},
		}}})
		h.create(&rbacv1.ClusterRoleBinding{
			ObjectMeta: role, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		})
		h.may("system:serviceaccount:"+namespace+":"+name, authorizationv1.ResourceAttributes{
			Group: "umbel.dev", Resource: "memberclusters", Subresource: "metrics", Name: append(clusters, "")[0], Verb: "get",
		})
	}
	for _, c := range []struct {
		reason string
		who    string
		path   string
		code   int
		says   string
	}{
		{"one of his", "one", "query?query=up&cluster=prod-eu", 200, "/api/v1/query of [prod-eu]"},
		{"both of his, one twice", "one", "labels?cluster=prod-eu&cluster=prod-us&cluster=prod-eu", 200, "/api/v1/labels of [prod-eu prod-us]"},
		{"one that is not his beside", "one", "query?cluster=prod-eu&cluster=dev", 403, `may not see the metrics of cluster \"dev\"`},
		{"all", "one", "query?query=up", 403, "may not see the metrics of all clusters"},
		{"none, which would be all", "one", "query?cluster=", 400, "no name of a cluster"},
		{"more than a name", "one", "query?cluster=prod-eu%7Cdev", 400, "no name of a cluster"},
		{"all, who may", "every", "query_range", 200, "/api/v1/query_range of []"},
		{"one, who may all", "every", "query?cluster=dev", 200, "/api/v1/query of [dev]"},
		{"one, who may nothing", "nobody", "query?cluster=prod-eu", 403, "may not see"},
		{"what an agent sends, by a person", "nobody", "write", 403, "may not see"},
	} {
		who := map[string]int{"one": 0, "every": 1, "nobody": 2}[c.who]
		code, text := h.knock([]*rest.Config{one, every, nobody}[who], "GET", "/api/v1/"+c.path)
		if code != c.code {
			t.Errorf("%s: answered %d %s, want %d", c.reason, code, text, c.code)
		}
		mustContain(t, c.reason, text, c.says)
	}
	if code, _ := h.knock(nil, "GET", "/api/v1/query?cluster=prod-eu"); code != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", code)
	}
}
