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
	if !g.maySee(w, r, who, auditLog, query.Clusters) {
		return
	}
	audit.From(r.Context()).Allowed("")
	audit.Endpoint(w, r, g.auditLog(), query)
}

// sight is something that people may see of all clusters or of some, and what it takes: a verb on a subresource of memberclusters, on all of them
// or on one by its name.
type sight struct{ name, verb, subresource, some string }

// auditLog is the audit log.
var auditLog = sight{"the audit log", audit.Verb, audit.Subresource, "name a cluster for what is about it alone"}

// maySee says whether somebody may see what is about all of these clusters, or about everything where none is named, and answers when not.
func (g *Gateway) maySee(w http.ResponseWriter, r *http.Request, who user.Info, s sight, clusters []v1alpha1.ClusterName) bool {
	if len(clusters) == 0 {
		clusters = []v1alpha1.ClusterName{""} // all that there is
	}
	for _, cluster := range clusters {
		allowed, err := g.people.may(r.Context(), who, authorizer.AttributesRecord{Verb: s.verb, Subresource: s.subresource, Name: string(cluster)})
		if err != nil {
			g.Log.Error("whether somebody may see something was not decided", "user", who.GetName(), "what", s.name, "error", err)
			refuse(w, r, http.StatusServiceUnavailable, "the hub cannot decide now whether you may do this; try again")
			return false
		}
		if allowed {
			continue
		}
		what, takes := s.name+" of all clusters", "of all ("+s.some+")"
		if cluster != "" {
			what, takes = fmt.Sprintf("%s of cluster %q", s.name, cluster), fmt.Sprintf("%q", cluster)
		}
		refuse(w, r, http.StatusForbidden, fmt.Sprintf(
			"user %q may not see %s: that takes the verb %q on memberclusters.umbel.dev/%s %s on the hub", who.GetName(), what, s.verb, s.subresource, takes))
		return false
	}
	return true
}
