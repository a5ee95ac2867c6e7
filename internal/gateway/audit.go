package gateway

import (
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/audit"
)

// serveAudit serves the audit log to who may read what they ask for: all of it, or what is about clusters that they name.
func (g *Gateway) serveAudit(w http.ResponseWriter, r *http.Request) {
	who, ok := g.recognise(w, r, g.Log.With("peer", r.RemoteAddr, "method", r.Method, "path", audit.Path))
	if !ok {
		return
	}
	query, err := audit.ParseQuery(r.URL.Query())
	switch {
	case r.Method != http.MethodGet:
		refuse(w, r, http.StatusMethodNotAllowed, "the audit log is for reading")
		return
	case err != nil:
		refuse(w, r, http.StatusBadRequest, "the query cannot be read: "+err.Error())
		return
	case g.Audit == nil:
		refuse(w, r, http.StatusNotFound, "this hub keeps no audit log")
		return
	}
	clusters := query.Clusters
	if len(clusters) == 0 {
		clusters = []v1alpha1.ClusterName{""} // all that there is
	}
	for _, cluster := range clusters {
		if !g.mayRead(w, r, who, cluster) {
			return
		}
	}
	audit.From(r.Context()).Allowed("")
	audit.Endpoint(w, r, g.auditLog(), query)
}

// mayRead says whether somebody may read what is about a cluster, or everything, and answers when not.
func (g *Gateway) mayRead(w http.ResponseWriter, r *http.Request, who user.Info, cluster v1alpha1.ClusterName) bool {
	allowed, err := g.people.may(r.Context(), who, authorizer.AttributesRecord{Verb: audit.Verb, Subresource: audit.Subresource, Name: string(cluster)})
	if err != nil {
		g.Log.Error("a request for the audit log was not decided", "user", who.GetName(), "error", err)
		refuse(w, r, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
		return false
	}
	if allowed {
		return true
	}
	what, takes := "all of the audit log", "of all (name a cluster for what is about it alone)"
	if cluster != "" {
		what, takes = fmt.Sprintf("what is about cluster %q in the audit log", cluster), fmt.Sprintf("%q", cluster)
	}
	refuse(w, r, http.StatusForbidden, fmt.Sprintf(
		"user %q may not read %s: that takes the verb %q on memberclusters.umbel.dev/%s %s on the hub", who.GetName(), what, audit.Verb, audit.Subresource, takes))
	return false
}
