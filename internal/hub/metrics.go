package hub

import (
	"context"
	"path/filepath"
	"time"

	"umbel.dev/umbel/internal/metrics/query"
	"umbel.dev/umbel/internal/metrics/store"
	"umbel.dev/umbel/internal/version"
)

// measured is what the fleet measures: what agents write, and how people ask for it.
type measured struct {
	*store.Store
	*query.API
}

// MetricsDir is where the hub keeps what the fleet measures.
func MetricsDir(home string) string { return filepath.Join(Dir(home), "metrics") }

// openMetrics opens them on a hub that is one process. What several replicas would keep, each of the agents that are in session with it,
// nobody puts together yet. A hub whose metrics cannot be opened does all else.
func (h *hub) openMetrics(context.Context) error {
	if h.Replica.Name != "" {
		h.Log.Warn("metrics are not kept: this hub is one of several replicas, which do not put together yet what each of them would have")
		return nil
	}
	kept, err := store.Open(store.Config{
		Dir: MetricsDir(h.Home), Retention: h.MetricsRetention, Size: h.MetricsSize, Now: time.Now, Log: h.Log,
	})
	if err != nil { // who decides what clusters hold matters more
		h.Log.Error("metrics are not kept until the hub starts again", "error", err)
		return nil
	}
	h.metrics = &measured{kept, query.New(query.Needs{Queryable: kept.Queryable(), Types: kept.Types, Version: version.Version, Now: time.Now, Log: h.Log})}
	return nil
}
