package agent

import (
	"encoding/json"
	"net/http"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

// withHistory answers what the hub itself asks of what happened to objects, a line of JSON for each, and leaves all else to next.
// What people ask for is theirs to ask of the API server: who may read the history, the hub decides.
func withHistory(next http.Handler, read func(since time.Time, yield func(v1alpha1.HistoryEntry) error) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := kubeproxy.ParseIdentity(r.Header)
		if err != nil || who.User != kubeproxy.HubUser || r.URL.Path != kubeproxy.HistoryPath || r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		var since time.Time
		if text := r.URL.Query().Get(v1alpha1.HistorySince); text != "" {
			if since, err = time.Parse(time.RFC3339, text); err != nil {
				kubeproxy.WriteError(w, http.StatusBadRequest, v1alpha1.HistorySince+" is no time of RFC 3339")
				return
			}
		}
		w.Header().Set("Content-Type", kubeproxy.HistoryType)
		lines := json.NewEncoder(w)
		if err := read(since, func(entry v1alpha1.HistoryEntry) error { return lines.Encode(entry) }); err != nil {
			panic(http.ErrAbortHandler) // what broke off is not to look like all of it
		}
	})
}
