package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// memberAPI is where MemberClusters are in the hub's API: who reads a history is recorded as one who reads its member.
const memberAPI = "/apis/umbel.dev/v1alpha1/memberclusters/"

// history serves what happened to the objects of packages on a member, from its agent.
func (g *Gateway) history(w http.ResponseWriter, r *http.Request, name string) {
	cluster := v1alpha1.ClusterName(name)
	if !v1alpha1.ValidClusterName(cluster) {
		kubeproxy.WriteError(w, http.StatusNotFound, "the history of a cluster is at "+v1alpha1.HistoryPath+"NAME")
		return
	}
	g.Audit.Serve(w, r, audit.Target{Path: memberAPI + name}, func(w http.ResponseWriter, r *http.Request) { g.serveHistory(w, r, cluster) })
}

// serveHistory serves it to who may read the MemberCluster: its status says the same of the last few.
func (g *Gateway) serveHistory(w http.ResponseWriter, r *http.Request, cluster v1alpha1.ClusterName) {
	log := g.Log.With("peer", r.RemoteAddr, "method", r.Method, "path", r.URL.Path)
	who, ok := g.recognise(w, r, log)
	if !ok {
		return
	}
	if r.Method != http.MethodGet {
		refuse(w, r, http.StatusMethodNotAllowed, "the history of a cluster is for reading")
		return
	}
	allowed, err := g.people.may(r.Context(), who, authorizer.AttributesRecord{Verb: "get", Name: string(cluster)})
	if err != nil {
		log.Error("a request for a history was not decided", "user", who.GetName(), "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
		return
	}
	if !allowed {
		log.Warn("a request for a history was refused", "user", who.GetName(), "why", "not allowed on the hub")
		refuse(w, r, http.StatusForbidden, fmt.Sprintf("user %q may not read the history of cluster %q: that takes the verb \"get\" on memberclusters.umbel.dev %q on the hub",
			who.GetName(), cluster, cluster))
		return
	}
	g.askHistory(w, r, who.GetName(), cluster)
}

// askHistory has the member's agent answer.
func (g *Gateway) askHistory(w http.ResponseWriter, r *http.Request, who string, cluster v1alpha1.ClusterName) {
	through := g.way(r.Context(), cluster)
	if through == nil {
		refuse(w, r, http.StatusServiceUnavailable, fmt.Sprintf("cluster %q is not connected to the hub; `umbel describe cluster %s` says why", cluster, cluster))
		return
	}
	if why := g.unread.full(who, cluster); why != "" {
		w.Header().Set("Retry-After", "1")
		refuse(w, r, http.StatusTooManyRequests, why)
		return
	}
	audit.From(r.Context()).Allowed("")
	ask := r.Clone(r.Context())
	ask.URL.RawQuery = url.Values{v1alpha1.HistorySince: r.URL.Query()[v1alpha1.HistorySince]}.Encode()
	answer := g.unread.answering(w, who, cluster, func() {
		g.Log.Warn("an answer was cut off: it waits for its reader, as too many do", "user", who, "member", cluster)
	})
	err := kubeproxy.Forward(answer, ask, kubeproxy.FromAgent{RoundTripper: through}, kubeproxy.Identity{User: kubeproxy.HubUser}, kubeproxy.HistoryPath)
	switch {
	case errors.Is(err, kubeproxy.ErrOlder):
		kubeproxy.WriteError(w, http.StatusNotImplemented, fmt.Sprintf("there is no history of cluster %q: %v", cluster, err))
	case err != nil:
		g.Log.Warn("a request for a history failed", "member", cluster, "user", who, "error", err)
		kubeproxy.WriteError(w, http.StatusBadGateway, fmt.Sprintf("the connection to cluster %q failed: %v", cluster, err))
	}
}
