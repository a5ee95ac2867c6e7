package scrape

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"umbel.dev/umbel/internal/metrics/request"
)

// reports are the series that the agent says itself of a source.
var reports = []string{"up", "scrape_samples_scraped"}

// key tells a series from others.
func (b *batch) key(set []request.Label) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	for _, l := range set {
		h.WriteString(l.Name)  //nolint:errcheck // it has no error
		h.WriteByte(0xff)      //nolint:errcheck
		h.WriteString(l.Value) //nolint:errcheck
		h.WriteByte(0xff)      //nolint:errcheck
	}
	return h.Sum64()
}

// ends says of each series that was there before, and is not now, that it has ended. Where it is not known which sources there are, those that
// were asked before are still there, as far as anybody knows: nobody asked them, so that they are not up.
func (b *batch) ends(at time.Time, known bool) error {
	var marks request.Builder
	var failed error
	each := func(s *request.Series) error {
		_, still := b.series[b.key(s.Labels)]
		switch {
		case still || len(s.Labels) == 0:
		case !known && slices.Contains(reports, nameOf(s.Labels)):
			failed = b.add(s.Labels, s.Type, at, 0)
		default:
			if marks.Add(s.Labels, s.Type, at.UnixMilli(), request.Ended); marks.Samples() >= perRequest {
				failed = b.put(marks.Take())
			}
		}
		return failed
	}
	for _, body := range b.before.bodies {
		_ = request.Decode(body, each) // beside what failed: one that is too large to be read, of which the hub has nothing either
		if failed != nil {
			return failed
		}
	}
	if body := marks.Take(); body != nil {
		return b.put(body)
	}
	return nil
}

func nameOf(set []request.Label) string {
	for _, l := range set {
		if l.Name == model.MetricNameLabel {
			return l.Value
		}
	}
	return ""
}
