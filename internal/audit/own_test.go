package audit

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestWhatTheHubChanges: everything but what the rule leaves out, and never a read.
func TestWhatTheHubChanges(t *testing.T) {
	var seen []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Audit-ID"))
		if strings.HasSuffix(r.URL.Path, "/gone") {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer api.Close()
	l := open(t, LogConfig{Dir: t.TempDir()})
	client := &http.Client{Transport: l.Transport(http.DefaultTransport)}
	const ours = "/apis/umbel.dev/v1alpha1/"
	for _, c := range []struct{ method, path string }{
		{"GET", ours + "packages"},
		{"POST", ours + "namespaces/default/releases"},
		{"PATCH", ours + "memberclusters/prod-eu?fieldManager=x"},
		{"PATCH", ours + "memberclusters/prod-eu/status"},
		{"PATCH", ours + "namespaces/default/packages/shop/status"},
		{"PATCH", ours + "namespaces/default/placements/shop/status"},
		{"PUT", "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/umbel-system/clusterprofiles/prod-eu/status"},
		{"PUT", "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/umbel-system/clusterprofiles/prod-eu"},
		{"DELETE", "/api/v1/namespaces/umbel-system/secrets/gone"},
		{"PUT", "/apis/coordination.k8s.io/v1/namespaces/umbel-system/leases/umbel-hub"},
		{"POST", "/api/v1/namespaces/default/events"},
		{"POST", "/apis/events.k8s.io/v1/namespaces/default/events"},
		{"POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews"},
		{"PUT", "/apis/example.com/v1/leases/a"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, api.URL+c.path, strings.NewReader("a body with a secret"))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	about := map[string]string{ClusterAnnotation: "prod-eu"}
	got := events(t, l)
	compare(t, "changes", []told{
		{"ResponseComplete", "create", v1alpha1.GroupVersion.Group + "/releases/ default/", HubUser, ours + "namespaces/default/releases", 200, nil},
		{"ResponseComplete", "patch", "umbel.dev/memberclusters/ /prod-eu", HubUser, ours + "memberclusters/prod-eu?fieldManager=x", 200, about},
		{"ResponseComplete", "patch", "umbel.dev/placements/status default/shop", HubUser, ours + "namespaces/default/placements/shop/status", 200, nil},
		{"ResponseComplete", "update", "multicluster.x-k8s.io/clusterprofiles/ umbel-system/prod-eu", HubUser,
			"/apis/multicluster.x-k8s.io/v1alpha1/namespaces/umbel-system/clusterprofiles/prod-eu", 200, nil},
		{"ResponseComplete", "delete", "/secrets/ umbel-system/gone", HubUser, "/api/v1/namespaces/umbel-system/secrets/gone", 404, nil},
		{"ResponseComplete", "update", "example.com/leases/ /a", HubUser, "/apis/example.com/v1/leases/a", 200, nil},
	}, got)
	if len(seen) != 15 || seen[1] != string(got[0].AuditID) {
		t.Errorf("the API saw the audit IDs %q", seen)
	}
	as, err := http.NewRequestWithContext(t.Context(), "DELETE", api.URL+ours+"memberclusters/prod-eu", nil)
	if err != nil {
		t.Fatal(err)
	}
	as.Header.Set("Impersonate-User", "ada")
	response, err := client.Do(as)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if again := events(t, l); len(again) != len(got) {
		t.Errorf("what a person does through the hub is recorded as the hub's: %+v", again[len(again)-1])
	}
	if _, err := client.Post("http://127.0.0.1:1/api/v1/namespaces", "", nil); err == nil {
		t.Fatal("nobody answered, and it is no error")
	}
	all := events(t, l)
	if last := all[len(all)-1]; last.ResponseStatus != nil || !strings.Contains(last.Annotations[EndedAnnotation], "is not known") {
		t.Errorf("of a change that nobody answered the log says %+v", last)
	}
}
