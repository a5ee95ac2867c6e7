package scrape

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"umbel.dev/umbel/internal/metrics/edge"
	"umbel.dev/umbel/internal/metrics/request"
)

// perRequest is how many samples a request has at most.
const perRequest = 5_000

// batch puts samples into requests, which it hands to put.
type batch struct {
	builder request.Builder
	put     func([]byte) error
	labels  []request.Label
	sent    int

	before past // what is said now follows on that
	now    past
	seed   maphash.Seed
	series map[uint64]struct{} // that were added
}

// past is what was said once: by it is known what has ended, and what did not answer.
type past struct {
	bodies [][]byte        // the requests, with their series
	failed map[source]bool // that could not be asked
}

func newBatch(put func([]byte) error, before past) *batch {
	return &batch{put: put, before: before, now: past{failed: map[source]bool{}}, seed: maphash.MakeSeed(), series: map[uint64]struct{}{}}
}

// add adds a sample.
func (b *batch) add(set []request.Label, kind request.Type, at time.Time, value float64) error {
	b.builder.Add(set, kind, at.UnixMilli(), value)
	b.series[b.key(set)] = struct{}{}
	b.sent++
	if b.builder.Samples() < perRequest {
		return nil
	}
	return b.flush()
}

// gauge adds a value that the agent knows itself: name, then pairs of labels in any order.
func (b *batch) gauge(at time.Time, value float64, name string, pairs ...string) error {
	b.labels = append(b.labels[:0], request.Label{Name: model.MetricNameLabel, Value: name})
	for i := 0; i < len(pairs); i += 2 {
		b.labels = append(b.labels, request.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	sortLabels(b.labels)
	return b.add(b.labels, request.Gauge, at, value)
}

func sortLabels(set []request.Label) {
	slices.SortFunc(set, func(a, b request.Label) int { return strings.Compare(a.Name, b.Name) })
}

func (b *batch) flush() error {
	body := b.builder.Take()
	if body == nil {
		return nil
	}
	b.now.bodies = append(b.now.bodies, body)
	return b.put(body)
}

// source is where text comes from.
type source struct {
	job      edge.Job
	instance string
	// namespace and pod are those of a pod that is asked itself; empty for all else.
	namespace, pod string
	// labels are those of its series, where a monitor says.
	labels labels.Labels
}

// own are the labels of what the agent says itself of a source, as pairs.
func (s source) own() (pairs []string) {
	if s.labels.IsEmpty() {
		pairs = []string{"job", string(s.job), "instance", s.instance}
		if s.pod != "" {
			pairs = append(pairs, "namespace", s.namespace, "pod", s.pod)
		}
	}
	s.labels.Range(func(l labels.Label) { pairs = append(pairs, l.Name, l.Value) })
	return pairs
}

var types = map[model.MetricType]request.Type{
	model.MetricTypeCounter: request.Counter, model.MetricTypeGauge: request.Gauge, model.MetricTypeHistogram: request.Histogram,
	model.MetricTypeGaugeHistogram: request.GaugeHistogram, model.MetricTypeSummary: request.Summary, model.MetricTypeInfo: request.Info,
	model.MetricTypeStateset: request.StateSet,
}

// sum is what several series make together.
type sum struct {
	labels []request.Label
	kind   request.Type
	value  float64
}

// text adds what is kept of the text of a source, all of it with one time. It returns how many samples that were.
func (b *batch) text(kept []byte, rules edge.Rules, from source, at time.Time) (int, error) {
	parser := textparse.NewPromParser(kept, labels.NewSymbolTable(), false)
	sums, order := map[string]*sum{}, []string(nil)
	family, typed, added := "", request.Unspecified, 0
	var set labels.Labels
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return added, fmt.Errorf("reading metrics: %w", err)
		}
		switch entry {
		case textparse.EntryType:
			name, said := parser.Type()
			family, typed = string(name), types[said]
		case textparse.EntrySeries:
			_, _, value := parser.Series()
			parser.Labels(&set)
			name, kind := set.Get(model.MetricNameLabel), request.Unspecified
			if edge.Within(family, name) {
				kind = typed
			}
			if by := rules.By(name); len(by) > 0 {
				into, key := sumOf(sums, set, name, by)
				if into.labels == nil {
					into.labels, into.kind, order = from.label(nil, labels.NewBuilder(set).Keep(append(by, model.MetricNameLabel)...).Labels()), kind, append(order, key)
				}
				into.value += value
				continue
			}
			b.labels = from.label(b.labels[:0], set)
			added++
			if err := b.add(b.labels, kind, at, value); err != nil {
				return added, err
			}
		}
	}
	for _, key := range order {
		added++
		if err := b.add(sums[key].labels, sums[key].kind, at, sums[key].value); err != nil {
			return added, err
		}
	}
	return added, nil
}

// sumOf returns where a series is added to.
func sumOf(sums map[string]*sum, set labels.Labels, name string, by []string) (*sum, string) {
	key := name
	for _, label := range by {
		key += "\xff" + set.Get(label)
	}
	if sums[key] == nil {
		sums[key] = &sum{}
	}
	return sums[key], key
}

// label returns the labels of a series of a source: which source it is, and what it says. What a source says of job and instance is not
// its own.
func (s source) label(into []request.Label, set labels.Labels) []request.Label {
	set.Range(func(l labels.Label) {
		if l.Name != model.JobLabel && l.Name != model.InstanceLabel {
			into = append(into, request.Label{Name: l.Name, Value: l.Value})
		}
	})
	into = append(into, request.Label{Name: model.InstanceLabel, Value: s.instance}, request.Label{Name: model.JobLabel, Value: string(s.job)})
	sortLabels(into)
	return into
}
