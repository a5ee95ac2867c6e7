package rollout

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"umbel.dev/umbel/api/v1alpha1"
)

// tenThousand is a rollout to 10,000 clusters in the middle of its second stage, and what is seen of them.
func tenThousand(b *testing.B) (*v1alpha1.Rollout, []Cluster, time.Time) {
	b.Helper()
	strategy := &v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{
		{Name: "dev", ClusterSelector: env("dev"), Canary: number(5), MaxUnavailable: part("20%")},
		{Name: "prod", ClusterSelector: env("prod"), MaxUnavailable: part("5%"), Bake: lasts(time.Hour)},
	}}
	w := newWorld(strategy)
	for i := range 10_000 {
		labels := map[string]string{"env": "prod"}
		if i%10 == 0 {
			labels["env"] = "dev"
		}
		n := &node{Cluster: Cluster{Name: v1alpha1.ClusterName(fmt.Sprintf("cluster-%05d", i)), Labels: labels, State: Absent}, online: true, selected: true, fit: true}
		w.nodes = append(w.nodes, n)
	}
	w.pkg.Status.Release = "shop-1a2b3c4d"
	for range 1000 {
		w.passes(10 * time.Second)
		w.work()
		w.looks(10)
		w.deliver()
		if r := w.newest(); len(r.Status.Stages) == 2 && r.Status.Stages[1].Done > 4500 {
			return r, w.clusters(r.Spec.Release), w.wall
		}
	}
	b.Fatal("it does not get to the middle")
	return nil, nil, time.Time{}
}

// BenchmarkNext is a look at 10,000 clusters.
func BenchmarkNext10000(b *testing.B) {
	r, clusters, now := tenThousand(b)
	raw, err := json.Marshal(r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(raw)), "object-bytes")
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		Next(r, Seen{Clusters: clusters, Decided: true}, now)
	}
	b.ReportMetric(float64(len(raw)), "object-bytes")
}

// TestAThousandMovesAreFewWrites: what a rollout of 1,000 clusters writes is bounded by looks, and not by what the clusters say.
func TestAThousandMovesAreFewWrites(t *testing.T) {
	w := newWorld(&v1alpha1.RolloutStrategy{Stages: []v1alpha1.RolloutStage{{Name: "all", MaxUnavailable: number(100)}}})
	for i := range 1000 {
		w.nodes = append(w.nodes, &node{Cluster: Cluster{Name: v1alpha1.ClusterName(fmt.Sprintf("c%04d", i)), State: Absent}, online: true, selected: true, fit: true})
	}
	writes, at := 0, 0
	w.wrote = func(_ *v1alpha1.Rollout, before, after *v1alpha1.RolloutStatus, _ []Cluster) {
		if !equality.Semantic.DeepEqual(before, after) {
			writes++
			if raw, err := json.Marshal(after); err == nil {
				at = len(raw)
			}
		}
	}
	w.pkg.Status.Release = "a"
	looks := 0
	for w.newest() == nil || w.newest().Status.Phase != v1alpha1.RolloutCompleted {
		if looks++; looks > 500 {
			t.Fatal("it does not end")
		}
		w.passes(time.Second)
		w.work()
		w.looks(10)
		w.deliver()
	}
	if writes > 30 {
		t.Errorf("%d writes for ten waves", writes)
	}
	if at > 2000 {
		t.Errorf("a rollout at rest has a status of %d bytes", at)
	}
	for range 100 {
		w.passes(time.Minute)
		w.looks(10)
	}
	if writes > 30 {
		t.Errorf("%d writes once it is at rest", writes)
	}
}
