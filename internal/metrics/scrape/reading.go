package scrape

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"

	"umbel.dev/umbel/internal/metrics/edge"
	"umbel.dev/umbel/internal/metrics/request"
)

// series is one that a pod says.
type series struct {
	labels labels.Labels
	kind   request.Type
	value  float64
}

// pod adds what a pod says, all of it with one time and after the steps of its monitor, or nothing when that is too much or cannot be read. It returns how many samples the
// pod said.
func (b *batch) pod(text []byte, how *edge.Reading, from source, at time.Time) (said int, err error) {
	all, said, err := read(text, how, from)
	if err != nil {
		return 0, err
	}
	for _, one := range all {
		b.labels = b.labels[:0]
		one.labels.Range(func(l labels.Label) { b.labels = append(b.labels, request.Label{Name: l.Name, Value: l.Value}) })
		if err := b.add(b.labels, one.kind, at, one.value); err != nil {
			return said, err
		}
	}
	return said, nil
}

// read returns the series of a pod, each once, and how many samples it says.
func read(text []byte, how *edge.Reading, from source) (all []series, said int, err error) {
	parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	most := edge.MaxPodSeries
	if how.Most > 0 {
		most = min(most, how.Most)
	}
	family, typed := "", request.Unspecified
	seen := map[labels.Labels]struct{}{}
	target := labelsOf(from)
	builder := labels.NewBuilder(labels.EmptyLabels())
	var set labels.Labels
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return all, said, nil
		}
		if err != nil {
			return nil, said, fmt.Errorf("reading metrics: %w", err)
		}
		switch entry {
		case textparse.EntryType:
			name, is := parser.Type()
			family, typed = string(name), types[is]
		case textparse.EntrySeries:
			_, _, value := parser.Series()
			parser.Labels(&set)
			said++
			one := series{value: value}
			if edge.Within(family, set.Get(model.MetricNameLabel)) {
				one.kind = typed
			}
			builder.Reset(set)
			target.put(builder, set, how.Honor)
			keep, err := how.Steps.Apply(builder)
			if err != nil {
				return nil, said, fmt.Errorf("%s: %smetricRelabelings: %w", how.Of, how.Field, err)
			}
			if !keep {
				continue
			}
			if edge.Own(builder.Get(model.JobLabel)) || builder.Get(model.JobLabel) == "" {
				builder.Set(model.JobLabel, target.Get(model.JobLabel))
			}
			if builder.Get(model.MetricNameLabel) == "" {
				return nil, said, fmt.Errorf("%s: %smetricRelabelings: they leave a series without a name", how.Of, how.Field)
			}
			one.labels = builder.Labels()
			if err := how.Within(one.labels); err != nil {
				return nil, said, err
			}
			if _, twice := seen[one.labels]; twice {
				continue
			}
			if len(all) == most {
				return nil, said, tooMany(how, most)
			}
			seen[one.labels], all = struct{}{}, append(all, one)
		}
	}
}

func tooMany(how *edge.Reading, most int) error {
	if most < edge.MaxPodSeries {
		return fmt.Errorf("%s: spec.sampleLimit: it has more than %d series", how.Of, most)
	}
	return fmt.Errorf("it has more series than one pod may have, which is %d", most)
}

// target are the labels of one.
type target struct{ labels.Labels }

func labelsOf(from source) target {
	if from.labels.IsEmpty() {
		return target{labels.FromStrings(from.own()...)}
	}
	return target{from.labels}
}

// put sets the labels of a target on a series that says some itself. Where both have one the target's counts, and the series' is said under another name, as an
// exporter's is that speaks of others; but what it says of job and instance is not its own. Where the monitor honors what a pod says, that counts.
func (t target) put(on *labels.Builder, said labels.Labels, honor bool) {
	t.Range(func(l labels.Label) {
		its := said.Get(l.Name)
		if its != "" && honor {
			return
		}
		if !honor {
			on.Del(exported + l.Name)
		}
		if its != "" && l.Name != model.JobLabel && l.Name != model.InstanceLabel {
			on.Set(exported+l.Name, its)
		}
		on.Set(l.Name, l.Value)
	})
}

// exported begins the name of a label that the target has too.
const exported = "exported_"
