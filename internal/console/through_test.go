package console

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestListsAreParts: a list that is asked of an API through the console has an end, whatever is asked for; nothing else is changed.
func TestListsAreParts(t *testing.T) {
	for _, c := range []struct{ method, asked, want string }{
		{http.MethodGet, "/hub/apis/umbel.dev/v1alpha1/memberclusters", "limit=500"},
		{http.MethodGet, "/clusters/prod-eu/apis/apps/v1/deployments?labelSelector=app%3Dweb", "labelSelector=app%3Dweb&limit=500"},
		{http.MethodGet, "/clusters/prod-eu/api/v1/namespaces/shop/pods?limit=0", "limit=500"},
		{http.MethodGet, "/clusters/prod-eu/api/v1/namespaces/shop/pods?limit=100000", "limit=500"},
		{http.MethodGet, "/clusters/prod-eu/api/v1/pods?limit=all", "limit=500"},
		{http.MethodGet, "/clusters/prod-eu/api/v1/pods?limit=100&continue=x", "limit=100&continue=x"},
		{http.MethodGet, "/clusters/prod-eu/api/v1/pods?watch=true", "watch=true"},
		{http.MethodGet, "/clusters/prod-eu/api/v1/namespaces/shop", ""},
		{http.MethodGet, "/clusters/prod-eu/api/v1/namespaces/shop/pods/web/log?tailLines=5", "tailLines=5"},
		{http.MethodGet, "/clusters/prod-eu/version", ""},
		{http.MethodGet, "/clusters/api/api/v1/nodes", "limit=500"},
		{http.MethodPost, "/hub/apis/umbel.dev/v1alpha1/namespaces/default/packages?dryRun=All", "dryRun=All"},
		{http.MethodGet, "/v1/audit?last=5", "last=5"},
		{http.MethodGet, "/api/v1/query?query=up", "query=up"},
	} {
		r := httptest.NewRequest(c.method, c.asked, nil)
		if bounded(r); r.URL.RawQuery != c.want {
			t.Errorf("%s %s is asked for with %q, want %q", c.method, c.asked, r.URL.RawQuery, c.want)
		}
	}
}
