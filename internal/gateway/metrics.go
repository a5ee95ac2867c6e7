package gateway

import (
	"fmt"
	"net/http"
	"slices"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
)

// Metrics keeps what members' agents measure, and answers what people ask of it.
type Metrics interface {
	// Write takes and answers a request of Prometheus' remote write that came through the session of a cluster.
	Write(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName)
	// Take takes and answers a request of another replica of the hub, with what agents sent to that.
	Take(w http.ResponseWriter, r *http.Request)
	// Query answers a request of Prometheus' HTTP API, of what is about these clusters alone; of everything where none is named.
	// Who asks may see that.
	Query(w http.ResponseWriter, r *http.Request, clusters []v1alpha1.ClusterName)
}

const (
	// writePath is where an agent sends what it measured, in its session.
	writePath = "/api/v1/write"
	// peerMetrics is where a replica of the hub takes what agents sent to the others.
	peerMetrics = replicaPath + "metrics"
	// queryPath is below which people ask for it.
	queryPath = "/api/v1/"
	// clusterParameter names a cluster that a query is about, and may be there several times.
	clusterParameter = "cluster"
)

// metrics are what agents measured.
var metrics = sight{"the metrics", "get", "metrics", "the parameter cluster=NAME, once for each, asks for those of some"}

// whyNoMetrics says why a hub has none.
const whyNoMetrics = "this hub keeps no metrics: it could not open them, as its log says"

// write takes what an agent measured. Whose it is says the session.
func (g *Gateway) write(w http.ResponseWriter, r *http.Request) {
	if g.Metrics == nil {
		http.Error(w, whyNoMetrics, http.StatusNotFound)
		return
	}
	g.Metrics.Write(w, r, memberOf(r.Context()))
}

// take takes what agents sent to another replica.
func (g *Gateway) take(w http.ResponseWriter, r *http.Request) {
	if g.Metrics == nil {
		http.Error(w, whyNoMetrics, http.StatusServiceUnavailable) // until it starts again
		return
	}
	g.Metrics.Take(w, r)
}

// ToMetrics sends requests to the Metrics of other replicas of the hub. The host of their URL is a replica's name.
func (g *Gateway) ToMetrics() http.RoundTripper { return toMetrics{g} }

type toMetrics struct{ *Gateway }

// RoundTrip implements http.RoundTripper.
func (t toMetrics) RoundTrip(r *http.Request) (*http.Response, error) {
	address, alive := t.Replicas.Address(r.URL.Host)
	if !alive {
		return nil, fmt.Errorf("replica %s is away", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.URL.Path, r.Host = "https", address, peerMetrics, address
	return t.peers.transport.RoundTrip(r)
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
	if !g.maySee(w, r, who, metrics, clusters) {
		return
	}
	audit.From(r.Context()).Allowed("")
	g.Metrics.Query(w, r, clusters)
}
