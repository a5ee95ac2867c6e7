package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"

	"umbel.dev/umbel/internal/audit"
	"umbel.dev/umbel/internal/identity/signin"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// At /hub the hub's API is asked as whoever came: any user and group of its own, with any attribute.
// +kubebuilder:rbac:groups="",resources=users;groups;serviceaccounts,verbs=impersonate
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=*,verbs=impersonate

// hubPath is where people who are elsewhere find the hub's own API.
const hubPath = "/hub"

// hubAPI takes a person's request to the hub's own API, as that person: its RBAC decides. Unlike on a member, names that
// begin with "system:" mean here what they say, for it is the hub's API that gave them.
func (g *Gateway) hubAPI(w http.ResponseWriter, r *http.Request, path string) {
	log := g.Log.With("peer", r.RemoteAddr, "method", r.Method, "path", hubPath+path)
	who, ok := g.recognise(w, r, log)
	if !ok {
		return
	}
	if why := g.unread.full(who.GetName(), ""); why != "" {
		log.Warn("a request to the hub's API was refused", "user", who.GetName(), "why", why)
		w.Header().Set("Retry-After", "1")
		refuse(w, r, http.StatusTooManyRequests, why)
		return
	}
	audit.From(r.Context()).Allowed("")
	answer := g.unread.answering(w, who.GetName(), "", func() {
		log.Warn("an answer was cut off: it waits for its reader, as too many do", "user", who.GetName())
	})
	err := g.people.api.Serve(answer, r, identityOf(who), path)
	if err != nil {
		log.Warn("a request to the hub's API failed", "user", who.GetName(), "error", err)
		kubeproxy.WriteError(w, http.StatusBadGateway, fmt.Sprintf("the hub cannot reach its own API: %v", err))
	}
}

// login tells a program how people sign in here. It is asked by nobody in particular, and tells no secret.
func (g *Gateway) login(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		kubeproxy.WriteError(w, http.StatusMethodNotAllowed, "it is there to be read: GET "+signin.LoginPath)
		return
	}
	answer := signin.Login{CA: string(g.Authority.CAs()), Issuers: []signin.Issuer{}}
	if g.people.signIn != nil {
		answer.Issuers = g.people.signIn.Issuers()
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	json.NewEncoder(w).Encode(answer)
}
