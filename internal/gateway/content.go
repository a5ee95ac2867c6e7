package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// agentRepository is the one repository at the door: a new member has no certificate yet when it pulls the agent's image.
const agentRepository = "umbel/agent"

// serveImage serves the agent's image at the door, to everybody, to read.
func (g *Gateway) serveImage(w http.ResponseWriter, r *http.Request) {
	at := r.URL.Path
	switch {
	case !plain(at):
		kubeproxy.WriteError(w, http.StatusBadRequest, "the path has empty segments, or such as . and ..")
	case !reads(r):
		kubeproxy.WriteError(w, http.StatusMethodNotAllowed, "the hub's registry is for reading")
	case at == "/v2" || at == "/v2/" || strings.HasPrefix(at, "/v2/"+agentRepository+"/"):
		g.Registry.ServeHTTP(w, r)
	default:
		g.Log.Warn("a request for content was refused", "peer", r.RemoteAddr, "path", at, "why", "at the door there is the agent's image alone")
		kubeproxy.WriteError(w, http.StatusUnauthorized, "content is for members, and goes through an agent's session")
	}
}

// plain says whether a path means what it says: what a registry makes of "a/../b" must not differ from what was
// decided about it.
func plain(p string) bool { return strings.TrimSuffix(p, "/") == path.Clean(p) }

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// serveContent serves a member's agent, through its session: the blobs that the member is to hold now, and nothing else.
// Whether another one exists it does not say.
func (g *Gateway) serveContent(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == writePath {
		g.write(w, r)
		return
	}
	if !reads(r) {
		kubeproxy.WriteError(w, http.StatusMethodNotAllowed, "the hub's registry is for reading")
		return
	}
	cluster := memberOf(r.Context())
	set, known := g.Desired.For(cluster)
	if !known {
		kubeproxy.WriteError(w, http.StatusServiceUnavailable, "the hub is finding out what the cluster is to hold; try again")
		return
	}
	for _, a := range set.Assign {
		if at := a.Where(); r.URL.Path == "/v2/"+at.GetRepository()+"/blobs/"+at.GetDigest() {
			g.Registry.ServeHTTP(w, r)
			return
		}
	}
	g.Log.Warn("a request for content was refused", "member", cluster, "path", r.URL.Path, "why", "it is not what the cluster is to hold")
	kubeproxy.WriteError(w, http.StatusForbidden, fmt.Sprintf("cluster %q is not to hold this now", cluster))
}

// memberConn is a stream that an admitted agent opened for content.
type memberConn struct {
	net.Conn
	cluster v1alpha1.ClusterName
}

// memberKey is where the context of a request has whose agent asks.
type memberKey struct{}

// withMember is the http.Server.ConnContext that puts it there.
func withMember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, memberKey{}, conn.(memberConn).cluster)
}

func memberOf(ctx context.Context) v1alpha1.ClusterName {
	cluster, _ := ctx.Value(memberKey{}).(v1alpha1.ClusterName)
	return cluster
}
