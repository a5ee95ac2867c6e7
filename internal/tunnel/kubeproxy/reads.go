package kubeproxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"

	"umbel.dev/umbel/api/v1alpha1"
)

// acts are the subresources by which a GET does more than to read: it runs a program, or is somebody's else.
var acts = []string{"attach", "exec", "portforward", "proxy"}

// asks are the groups of the API whose objects are questions, and are kept nowhere.
var asks = []string{"authentication.k8s.io", "authorization.k8s.io"}

var requests = &apirequest.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// Reads says whether a request to an API server, by its method and its path there, escaped, leaves the cluster as it is. What is in
// doubt does not.
func Reads(method, path string) bool {
	plain, err := url.PathUnescape(path)
	if err != nil {
		return false
	}
	info, err := requests.NewRequestInfo(&http.Request{Method: method, URL: &url.URL{Path: plain}})
	if err != nil {
		return false
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return !info.IsResourceRequest || !slices.Contains(acts, info.Subresource) && !older(plain)
	case http.MethodPost:
		return info.IsResourceRequest && slices.Contains(asks, info.APIGroup) && info.Subresource == ""
	}
	return false
}

// Observed is what somebody is told who would change something on a cluster that is observed.
func Observed(cluster v1alpha1.ClusterName) string {
	return fmt.Sprintf("cluster %q is observed: it can be read through the hub, and not changed, nor are programs run there; `umbel level %s attached` has that done", cluster, cluster)
}

// older says whether a path is of the form of before, /api/v1/proxy/…, which API servers do not have any more.
func older(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	return len(parts) > 2 && parts[0] == "api" && parts[2] == "proxy"
}
