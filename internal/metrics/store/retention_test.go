package store

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"umbel.dev/umbel/internal/metrics/request"
)

// TestTheOldestGoes: what is older than Retention is dropped, and what takes more than Size; the rest stays, and so does all of it while neither is
// reached. Blocks are of two hours: each goes as a whole, when its newest sample is so old.
func TestTheOldestGoes(t *testing.T) {
	const written = 12 * time.Hour
	dir, at := t.TempDir(), &clock{at: noon}
	reopened := func(retention time.Duration, size int64) *Store {
		t.Helper()
		s, err := Open(Config{Dir: dir, Retention: retention, Size: size, Limits: Limits{Rate: 1 << 20}, Now: at.now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	kept := func(s *Store, reason string, oldest time.Duration) {
		t.Helper()
		if got := reach(t, s); got != [2]time.Duration{oldest, written} {
			t.Errorf("%s: what is kept reaches from %v to %v of what was written, want from %v to %v", reason, got[0], got[1], oldest, written)
		}
	}

	s := reopened(20*time.Hour, 1<<30)
	const series, every = 150, time.Minute
	random := rand.New(rand.NewPCG(6, 7)) // takes room
	for ; at.now().Sub(noon) <= written; at.pass(every) {
		var b request.Builder
		for i := range series {
			b.Add(counter("c", "i", strconv.Itoa(i)), request.Gauge, at.now().UnixMilli(), random.Float64())
		}
		if code, text := post(s, "a", b.Take()); code != http.StatusNoContent {
			t.Fatal(code, text)
		}
	}
	if err := s.db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopened(20*time.Hour, 1<<30) // what was on its way to the disk is there
	kept(s, "neither is reached", 0)
	blocks := s.db.Blocks()
	whole := s.db.Head().Size()
	for _, b := range blocks {
		whole += b.Size()
	}
	if len(blocks) != 5 || blocks[0].Size() < 100<<10 {
		t.Fatalf("there are %d blocks, the first of %d bytes: want 5 that each take more than a beginning of the journal does", len(blocks), blocks[0].Size())
	}
	oldest := blocks[0].Size()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = reopened(20*time.Hour, whole-oldest/2)
	kept(s, "half a block too much", 2*time.Hour)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept(reopened(3*time.Hour, 1<<30), "three hours, of what ends at ten", 6*time.Hour)
}

// reach is how long after noon the first and the last sample of a series is.
func reach(t *testing.T, s *Store) (found [2]time.Duration) {
	t.Helper()
	q, err := s.Queryable().Querier(noon.UnixMilli(), noon.Add(100*time.Hour).UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "i", "7"))
	if !set.Next() {
		t.Fatal("nothing is kept", set.Err())
	}
	samples, first := set.At().Iterator(nil), true
	for samples.Next() == chunkenc.ValFloat {
		at := time.UnixMilli(samples.AtT()).Sub(noon)
		if found[1] = at; first {
			found[0], first = at, false
		}
	}
	return found
}
