package store

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/request"
)

// points are the values of a series, with "end" for the mark that it ended.
func points(t *testing.T, s *Store, name string) (texts []string) {
	t.Helper()
	q, err := s.Queryable().Querier(0, noon.Add(time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	for set.Next() {
		text := set.At().Labels().Get("cluster")
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			_, v := it.At()
			switch {
			case value.IsStaleNaN(v):
				text += " end"
			case v == 1:
				text += " 1"
			default:
				text += " 0"
			}
		}
		texts = append(texts, text)
	}
	return texts
}

// TestWhatTheHubSays is kept beside what agents send, past their limits, and ends when it is not said any more; no agent says it.
func TestWhatTheHubSays(t *testing.T) {
	s, at := open(t, t.TempDir(), Limits{Series: 1})
	if code, text := send(t, s, "a", counter("up"), noon, 1); code != 204 {
		t.Fatal(code, text)
	}
	fact := func(cluster string, value float64) Fact {
		return Fact{labels.FromStrings(model.MetricNameLabel, "umbel_cluster_connected", "cluster", cluster), value}
	}
	for _, facts := range [][]Fact{{fact("a", 1), fact("b", 1)}, {fact("a", 0)}, {fact("a", 1)}, {fact("a", 1), fact("b", 1)}} {
		if err := s.Say(t.Context(), at.now(), facts); err != nil {
			t.Fatal(err)
		}
		at.pass(30 * time.Second)
	}
	if diff := cmp.Diff([]string{"a 1 0 1 1", "b 1 end 1"}, points(t, s, "umbel_cluster_connected")); diff != "" {
		t.Error(diff)
	}
	if s.Series("a") != 1 {
		t.Errorf("cluster a has %d series of its own, want 1: what the hub says does not count", s.Series("a"))
	}
	for _, name := range []string{"umbel_cluster_connected", "umbel_rules_broken", "ALERTS", "ALERTS_FOR_STATE"} {
		if code, text := send(t, s, "c", counter(name), at.now(), 0); code != 400 || !strings.Contains(text, "is for what the hub says itself") {
			t.Errorf("an agent that says %s is answered %d %s", name, code, text)
		}
	}
	if code, text := send(t, s, "c", counter("umbel_pods"), at.now(), 1); code != 204 {
		t.Errorf("what agents say themselves is answered %d %s", code, text)
	}
	if err := s.Say(t.Context(), at.now().Add(-time.Minute), []Fact{fact("a", 1)}); err != nil {
		t.Errorf("a clock that was set back: %v", err)
	}
}

// TestWhatEndsIsNotFound: an agent says of a series that it has ended; a cluster that leaves says nothing more, and the hub does. Neither makes a series, and
// what others sent goes on.
func TestWhatEndsIsNotFound(t *testing.T) {
	s, at := open(t, t.TempDir(), Limits{})
	for _, cluster := range []v1alpha1.ClusterName{"a", "b"} {
		for _, name := range []string{"up", "left"} {
			if code, text := send(t, s, cluster, counter(name), noon, 1); code != 204 {
				t.Fatal(code, text)
			}
		}
	}
	if err := s.Say(t.Context(), noon, []Fact{{labels.FromStrings(model.MetricNameLabel, "umbel_cluster_connected", "cluster", "a"), 1}}); err != nil {
		t.Fatal(err)
	}
	at.pass(30 * time.Second)
	for _, name := range []string{"left", "never"} {
		if code, text := send(t, s, "a", counter(name), at.now(), request.Ended); code != 204 {
			t.Errorf("the end of %s: %d %s", name, code, text)
		}
	}
	if code, text := send(t, s, "a", counter("up"), at.now().Add(time.Minute), 1); code != 204 { // its clock is ahead
		t.Fatal(code, text)
	}
	for range 2 { // once is enough, and twice the same
		if err := s.End(t.Context(), at.now(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][]string{"up": {"a 1 1 end", "b 1"}, "left": {"a 1 end", "b 1"}, "never": nil, "umbel_cluster_connected": {"a 1"}} {
		if diff := cmp.Diff(want, points(t, s, name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if n := s.Series("a"); n != 2 {
		t.Errorf("the cluster has %d series, want the two that it sent", n)
	}
	if code, text := send(t, s, "a", counter("up"), at.now().Add(2*time.Minute), 1); code != 204 {
		t.Errorf("a cluster of that name that joins again is answered %d %s", code, text)
	}
}
