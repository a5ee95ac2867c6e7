package facts

import (
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/health"
	"umbel.dev/umbel/internal/metrics/store"
)

// Seen is what facts are made of.
type Seen struct {
	Clusters []v1alpha1.MemberCluster
	Packages []v1alpha1.Package
	Rollouts []v1alpha1.Rollout
}

// The names of the series.
const (
	// Connected is 1 while a cluster is connected, and 0 while it should be and is not. One that has never come, hibernates or is kept out has none.
	Connected = "umbel_cluster_connected"
	// Ready is 1 while a cluster is connected and as it should be, else 0.
	Ready = "umbel_cluster_ready"
	// CertificateEnd is when the first certificate ends by which a cluster is reached, in seconds since 1970.
	CertificateEnd = "umbel_cluster_certificate_end_seconds"
	// PackageClusters is on how many clusters a package is in each state.
	PackageClusters = "umbel_package_clusters"
	// DriftFights is how many objects of a package on a cluster are undone by others again and again; absent when none is.
	DriftFights = "umbel_package_drift_fights"
	// RolloutStuck is 1 for a rollout that stands still, by why and how bad that is; absent otherwise.
	RolloutStuck = "umbel_rollout_stuck"
)

// Of returns what is to be said now.
func Of(seen Seen, now time.Time) (facts []store.Fact) {
	say := func(value float64, name string, pairs ...string) {
		facts = append(facts, store.Fact{Labels: labels.FromStrings(append(pairs, model.MetricNameLabel, name)...), Value: value})
	}
	for i := range seen.Clusters {
		c := &seen.Clusters[i]
		if expected, connected := health.Expected(c); expected {
			say(one(connected), Connected, "cluster", c.Name)
			say(one(connected && health.Is(c.Status.Conditions, v1alpha1.ConditionReady)), Ready, "cluster", c.Name)
		}
		if until, of := c.Status.CertificateEnd(); !until.IsZero() {
			say(float64(until.Unix()), CertificateEnd, "cluster", c.Name, "of", of)
		}
		for j := range c.Status.Packages {
			held := &c.Status.Packages[j]
			if n := health.Fights(held); n > 0 {
				namespace, name := held.Package.Split()
				say(float64(n), DriftFights, "cluster", c.Name, "namespace", namespace, "package", name)
			}
		}
	}
	for i := range seen.Packages {
		p := &seen.Packages[i]
		counts := p.Status.Clusters
		for _, state := range []struct {
			name string
			n    int32
		}{{"ready", counts.Ready}, {"progressing", counts.Progressing}, {"failing", counts.Failing}, {"unknown", counts.Unknown}, {"removing", counts.Removing}} {
			say(float64(state.n), PackageClusters, "namespace", p.Namespace, "package", p.Name, "state", state.name)
		}
	}
	for i := range seen.Rollouts {
		r := &seen.Rollouts[i]
		if c, level := health.Stuck(r, now); c != nil {
			say(1, RolloutStuck, "namespace", r.Namespace, "rollout", r.Name, "about", r.About(), "reason", c.Reason, "level", string(level))
		}
	}
	return facts
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
