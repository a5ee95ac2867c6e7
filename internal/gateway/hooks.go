package gateway

import (
	"net/http"

	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// hooksPath is where servers that host repositories tell of pushes.
const hooksPath = "/hooks/"

// hook hands a push to who knows its receivers. Each token that is wrong costs whoever sent it, by address: so many, and no
// more, since for each of them the hub's API is asked.
func (g *Gateway) hook(w http.ResponseWriter, r *http.Request) {
	from := host(r.RemoteAddr)
	if g.Hooks == nil {
		kubeproxy.WriteError(w, http.StatusNotFound, "this hub hears of no pushes")
		return
	}
	if !g.pushes.left(from) {
		w.Header().Set("Retry-After", "10")
		kubeproxy.WriteError(w, http.StatusTooManyRequests, "too many pushes from this address were not genuine; wait ten seconds")
		return
	}
	answer := &judged{ResponseWriter: w}
	g.Hooks.ServeHTTP(answer, r)
	if answer.refused {
		g.pushes.take(from)
	}
}

// judged is an answer of which it is remembered whether it refused somebody.
type judged struct {
	http.ResponseWriter
	refused bool
}

func (j *judged) WriteHeader(code int) {
	j.refused = j.refused || code >= 400 && code < 500 && code != http.StatusTooManyRequests
	j.ResponseWriter.WriteHeader(code)
}

// Unwrap lets deadlines be set through it.
func (j *judged) Unwrap() http.ResponseWriter { return j.ResponseWriter }
