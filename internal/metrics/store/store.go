package store

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/compression"

	"umbel.dev/umbel/api/v1alpha1"
)

// The defaults of Config.
const (
	DefaultRetention = 15 * 24 * time.Hour
	DefaultSize      = 10 << 30
)

// Config is what a Store needs.
type Config struct {
	// Dir is its folder.
	Dir string
	// Retention is how long samples are kept, and Size how many bytes they may take on the disk, beside the last hours'; whatever is reached
	// first. The defaults are DefaultRetention and DefaultSize.
	Retention time.Duration
	Size      int64
	Limits    Limits
	// Onward is given what was kept; nil when nobody ever wants it.
	Onward Onward
	// Spread is given what was kept of a cluster, as it came; nil on a hub that is one process.
	Spread interface {
		Put(cluster v1alpha1.ClusterName, body []byte)
	}
	// Leads says whether what the hub itself makes of it goes onward from here: of several replicas each makes the same. Nil says so too.
	Leads func() bool
	Now   func() time.Time
	Log   *slog.Logger
}

// Store keeps samples. It is safe for concurrent use.
type Store struct {
	Config
	db       *tsdb.DB
	clusters *clusters
	names    *names
	bodies   chan struct{} // of requests that are on their way
	slots    chan struct{} // of those that are kept at once

	own  sync.Mutex               // has one Say after the other
	said map[string]labels.Labels // what the hub said last
}

// stripes are how many parts the table of series in memory has: each costs memory also when there is no series.
const stripes = 1 << 12

// Open opens the store of a folder, or makes it. What was kept before is there when it returns.
func Open(c Config) (*Store, error) {
	if c.Retention == 0 {
		c.Retention = DefaultRetention
	}
	if c.Size == 0 {
		c.Size = DefaultSize
	}
	c.Limits = c.Limits.withDefaults()
	s := &Store{Config: c, clusters: newClusters(c.Limits), names: newNames(), bodies: make(chan struct{}, bodies), slots: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	o := tsdb.DefaultOptions()
	o.RetentionDuration, o.MaxBytes = c.Retention.Milliseconds(), c.Size
	o.MaxBlockDuration = max(o.MinBlockDuration, o.RetentionDuration/10) // as Prometheus does
	o.OutOfOrderTimeWindow = Late.Milliseconds()
	o.StripeSize, o.WALCompression, o.HeadChunksWriteBufferSize = stripes, compression.Snappy, 1<<20
	o.SeriesLifecycleCallback = s.clusters
	var err error
	if s.db, err = tsdb.Open(c.Dir, c.Log.With("part", "metrics"), nil, o, nil); err != nil {
		return nil, fmt.Errorf("opening the fleet's metrics in %s: %w", c.Dir, err)
	}
	s.clusters.limit()
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error { return s.db.Close() }

// Queryable is where PromQL reads.
func (s *Store) Queryable() storage.Queryable { return s.db }

// Series is how many series of a cluster are in memory.
func (s *Store) Series(cluster v1alpha1.ClusterName) int { return s.clusters.series(cluster) }
