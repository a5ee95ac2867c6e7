package store

import (
	"maps"
	"strings"
	"sync"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

// maxNames is of how many metrics one cluster may say the type.
const maxNames = 2000

// names are the types of metrics, as whoever said it first has them. They are not kept: agents say them again.
type names struct {
	mu    sync.Mutex
	types map[string]request.Type
	said  map[v1alpha1.ClusterName]int
}

func newNames() *names {
	return &names{types: map[string]request.Type{}, said: map[v1alpha1.ClusterName]int{}}
}

// say says the type of a metric. It keeps nothing of the name, whose memory may be used again.
func (n *names) say(cluster v1alpha1.ClusterName, name string, kind request.Type) {
	if kind == request.Unspecified {
		return
	}
	if kind == request.Histogram || kind == request.Summary {
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, part)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.types[name]; known || n.said[cluster] >= maxNames {
		return
	}
	n.said[cluster]++
	n.types[strings.Clone(name)] = kind
}

// Types returns the types of metrics by their names, of those that agents said since the start.
func (s *Store) Types() map[string]request.Type {
	s.names.mu.Lock()
	defer s.names.mu.Unlock()
	return maps.Clone(s.names.types)
}
