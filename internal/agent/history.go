package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/tunnel/kubeproxy"
)

const (
	// readers is how many read the history at a time: each parses all of it, and whoever may ask is not to keep the member's cores busy.
	readers = 2
	// page is how much of an answer is written at once.
	page = 64 << 10
)

// history reads what happened since a time; apply.Engine has it.
type history func(ctx context.Context, since time.Time, yield func(v1alpha1.HistoryEntry) error) error

// withHistory answers what the hub itself asks of what happened to objects, a line of JSON for each, and leaves all else to next.
// What people ask for is theirs to ask of the API server: who may read the history, the hub decides.
func withHistory(next http.Handler, read history) http.Handler {
	turns := make(chan struct{}, readers)
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
		if err := read.write(r.Context(), w, since, &turn{of: turns}); err != nil {
			panic(http.ErrAbortHandler) // what broke off is not to look like all of it
		}
	})
}

// write writes lines a page at a time. It has a turn while it reads, and none while it writes: who is slow to take an answer, or does not
// take it at all, keeps nobody else from theirs.
func (h history) write(ctx context.Context, w io.Writer, since time.Time, turn *turn) error {
	var full bytes.Buffer
	lines := json.NewEncoder(&full)
	send := func() error {
		turn.end()
		_, err := full.WriteTo(w)
		return err
	}
	defer turn.end()
	if err := turn.take(ctx); err != nil {
		return err
	}
	err := h(ctx, since, func(entry v1alpha1.HistoryEntry) error {
		if err := lines.Encode(entry); err != nil || full.Len() < page {
			return err
		}
		if err := send(); err != nil {
			return err
		}
		return turn.take(ctx)
	})
	if err != nil {
		return err
	}
	return send()
}

// turn is one of as many as the channel has room for.
type turn struct {
	of    chan struct{}
	taken bool
}

// take waits for the turn, or until ctx ends.
func (t *turn) take(ctx context.Context) error {
	select {
	case t.of <- struct{}{}:
		t.taken = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turn) end() {
	if t.taken {
		<-t.of
		t.taken = false
	}
}
