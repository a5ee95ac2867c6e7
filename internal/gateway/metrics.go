package gateway

import (
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
)

// Metrics keeps what members' agents measure, and answers what people ask of it.
type Metrics interface {
	// Write takes and answers a request of Prometheus' remote write that came through the session of a cluster.
	Write(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName)
	// Query answers a request of Prometheus' HTTP API, of what is about these clusters alone; of everything where none is named.
	// Who asks may see that.
	Query(w http.ResponseWriter, r *http.Request, clusters []v1alpha1.ClusterName)
}

const (
	// writePath is where an agent sends what it measured, in its session.
	writePath = "/api/v1/write"
	// queryPath is below which people ask for it.
	queryPath = "/api/v1/"
	// clusterParameter names a cluster that a query is about, and may be there several times.
	clusterParameter = "cluster"
	// metricsSubresource and metricsVerb are what somebody needs on memberclusters of the hub to ask for metrics: of all of them
	// for everything, of one, by its name, for what is about that cluster.
	metricsSubresource, metricsVerb = "metrics", "get"
)

// whyNoMetrics says why a hub has none.
const whyNoMetrics = "this hub keeps no metrics: it is one of several replicas, which do not yet, or could not open them, as its log says"

// write takes what an agent measured. Whose it is says the session.
func (g *Gateway) write(w http.ResponseWriter, r *http.Request) {
	if g.Metrics == nil {
		http.Error(w, whyNoMetrics, http.StatusNotFound)
		return
	}
	g.Metrics.Write(w, r, memberOf(r.Context()))
}

// serveMetrics answers who asks for metrics, and may see what they ask for: all of it, or what is about clusters that they name.
func (g *Gateway) serveMetrics(w http.ResponseWriter, r *http.Request) {
	who, ok := g.recognise(w, r, g.Log.With("peer", r.RemoteAddr, "method", r.Method, "path", r.URL.Path))
	if !ok {
		return
	}
	if g.Metrics == nil {
		refuse(w, r, http.StatusNotFound, whyNoMetrics)
		return
	}
	var clusters []v1alpha1.ClusterName
	for _, name := range r.URL.Query()[clusterParameter] {
		cluster := v1alpha1.ClusterName(name)
		if !v1alpha1.ValidClusterName(cluster) {
			refuse(w, r, http.StatusBadRequest, fmt.Sprintf("parameter %q: %q is no name of a cluster", clusterParameter, name))
			return
		}
		if !slices.Contains(clusters, cluster) {
			clusters = append(clusters, cluster)
		}
	}
	asked := clusters
	if len(asked) == 0 {
		asked = []v1alpha1.ClusterName{""} // all that there is
	}
	for _, cluster := range asked {
		if !g.maySee(w, r, who, cluster) {
			return
		}
	}
	audit.From(r.Context()).Allowed("")
	g.Metrics.Query(w, r, clusters)
}

// maySee says whether somebody may ask for the metrics of a cluster, or for all, and answers when not.
func (g *Gateway) maySee(w http.ResponseWriter, r *http.Request, who user.Info, cluster v1alpha1.ClusterName) bool {
	allowed, err := g.people.may(r.Context(), who, authorizer.AttributesRecord{Verb: metricsVerb, Subresource: metricsSubresource, Name: string(cluster)})
	if err != nil {
		g.Log.Error("a request for metrics was not decided", "user", who.GetName(), "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
		return false
	}
	if allowed {
		return true
	}
	what, takes := "the metrics of all clusters", "of all (the parameter cluster=NAME, once for each, asks for those of some)"
	if cluster != "" {
		what, takes = fmt.Sprintf("the metrics of cluster %q", cluster), fmt.Sprintf("%q", cluster)
	}
	refuse(w, r, http.StatusForbidden, fmt.Sprintf(
		"user %q may not see %s: that takes the verb %q on memberclusters.umbel.dev/%s %s on the hub", who.GetName(), what, metricsVerb, metricsSubresource, takes))
	return false
}
