package store

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"golang.org/x/time/rate"

	"umbel.dev/umbel/api/v1alpha1"
)

// errSeries says that a cluster has as many series as it may.
var errSeries = errors.New(string(tooManySeries))

// clusters knows what each cluster has and may send. It implements tsdb.SeriesLifecycleCallback.
type clusters struct {
	limits Limits

	mu      sync.Mutex
	of      map[v1alpha1.ClusterName]*share
	limited bool // series are refused
}

// share is what one cluster has.
type share struct {
	series int
	budget *rate.Limiter // of samples
	busy   sync.Mutex    // has one request after the other
	silent time.Time     // until when nothing is logged of it
}

var _ interface {
	PreCreation(labels.Labels) error
	PostCreation(labels.Labels)
	PostDeletion(map[chunks.HeadSeriesRef]labels.Labels)
} = (*clusters)(nil)

func newClusters(limits Limits) *clusters {
	return &clusters{limits: limits, of: map[v1alpha1.ClusterName]*share{}}
}

// limit has series refused from now on.
func (c *clusters) limit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limited = true
}

// share returns what a cluster has.
func (c *clusters) share(cluster v1alpha1.ClusterName) *share {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.locked(cluster)
}

func (c *clusters) locked(cluster v1alpha1.ClusterName) *share {
	s := c.of[cluster]
	if s == nil {
		s = &share{budget: rate.NewLimiter(rate.Limit(c.limits.Rate), c.limits.burst())}
		c.of[cluster] = s
	}
	return s
}

func (c *clusters) series(cluster v1alpha1.ClusterName) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.locked(cluster).series
}

func clusterOf(set labels.Labels) v1alpha1.ClusterName {
	return v1alpha1.ClusterName(set.Get(clusterLabel))
}

// PreCreation says whether a cluster may have one more series. What the hub says of it counts for nothing.
func (c *clusters) PreCreation(set labels.Labels) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limited && !Reserved(set.Get(nameLabel)) && c.locked(clusterOf(set)).series >= c.limits.Series {
		return errSeries
	}
	return nil
}

// PostCreation counts a series.
func (c *clusters) PostCreation(set labels.Labels) { c.count(set, 1) }

// PostDeletion counts series that went.
func (c *clusters) PostDeletion(gone map[chunks.HeadSeriesRef]labels.Labels) {
	for _, set := range gone {
		c.count(set, -1)
	}
}

func (c *clusters) count(set labels.Labels, n int) {
	if Reserved(set.Get(nameLabel)) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locked(clusterOf(set)).series += n
}

// quiet is how long nothing more is logged of a cluster of which something was.
const quiet = 10 * time.Minute

// complain says whether it is time to say that not all of a cluster is kept.
func (c *clusters) complain(cluster v1alpha1.ClusterName, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.locked(cluster)
	if now.Before(s.silent) {
		return false
	}
	s.silent = now.Add(quiet)
	return true
}
