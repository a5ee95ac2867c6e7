package request

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/golang/snappy"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

type seen struct {
	Labels  []Label
	Invalid string
	Type    Type
	Samples []Sample
}

func decoded(t *testing.T, body []byte) (all []seen) {
	t.Helper()
	err := Decode(body, func(s *Series) error {
		all = append(all, seen{append([]Label(nil), s.Labels...), s.Invalid, s.Type, append([]Sample(nil), s.Samples...)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func up(instance string) []Label { return []Label{{"__name__", "up"}, {"instance", instance}} }

// TestOthersReadWhatIsWritten compares the builder with Prometheus' own code.
func TestOthersReadWhatIsWritten(t *testing.T) {
	var b Builder
	for round := range 2 { // what was taken is not in the next one
		b.Add(up("a"), Gauge, 1000, 1)
		b.Add(up("b"), Unspecified, -5, math.Inf(1))
		plain, err := snappy.Decode(nil, b.Take())
		if err != nil {
			t.Fatal(err)
		}
		var r writev2.Request
		if err := r.Unmarshal(plain); err != nil {
			t.Fatal(err)
		}
		builder := labels.NewScratchBuilder(0)
		var got []string
		for _, series := range r.Timeseries {
			set, err := series.ToLabels(&builder, r.Symbols)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range series.Samples {
				got = append(got, fmt.Sprintf("%s %v %v %d", set, series.Metadata.Type, s.Value, s.Timestamp))
			}
		}
		want := []string{`{__name__="up", instance="a"} METRIC_TYPE_GAUGE 1 1000`, `{__name__="up", instance="b"} METRIC_TYPE_UNSPECIFIED +Inf -5`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d: %s", round, diff)
		}
	}
	if b.Take() != nil {
		t.Error("a request of nothing")
	}
}

// TestWhatOthersWriteIsRead compares Decode with Prometheus' own code, with all that agents do not send.
func TestWhatOthersWriteIsRead(t *testing.T) {
	table := writev2.NewSymbolTable()
	refs := func(set labels.Labels) []uint32 { return table.SymbolizeLabels(set, nil) }
	r := writev2.Request{Timeseries: []writev2.TimeSeries{
		{
			LabelsRefs: refs(labels.FromStrings("__name__", "up", "instance", "a")),
			Samples:    []writev2.Sample{{Value: 1, Timestamp: 5, StartTimestamp: 2}, {Value: math.Inf(-1), Timestamp: 6}},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: table.Symbolize("help")},
			Exemplars:  []writev2.Exemplar{{Value: 1}},
		},
		{LabelsRefs: refs(labels.FromStrings("__name__", "h")), Histograms: []writev2.Histogram{{Sum: 1, Timestamp: 7}}},
	}}
	r.Symbols = table.Symbols()
	raw, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	want := []seen{
		{Labels: up("a"), Type: Counter, Samples: []Sample{{5, 1}, {6, math.Inf(-1)}}},
		{Labels: []Label{{"__name__", "h"}}},
	}
	if diff := cmp.Diff(want, decoded(t, snappy.Encode(nil, raw))); diff != "" {
		t.Error(diff)
	}
}

func TestRequestsThatAreNotTaken(t *testing.T) {
	many := make([]byte, MaxDecoded+1)
	table := make([]byte, 0, 2*MaxSymbols+2)
	for range MaxSymbols + 1 {
		table = append(table, requestSymbols<<3|2, 0)
	}
	for name, test := range map[string]struct {
		body []byte
		want error
	}{
		"random":          {[]byte("hello"), errBroken},
		"bytes of a sort": {snappy.Encode(nil, []byte{0xff, 0xff}), errBroken},
		"large":           {make([]byte, MaxBody+1), ErrTooLarge},
		"a bomb":          {snappy.Encode(nil, many), ErrTooLarge},
		"many strings":    {snappy.Encode(nil, table), ErrTooLarge},
		"outside the table": {
			snappy.Encode(nil, []byte{requestSymbols<<3 | 2, 0, requestSeries<<3 | 2, 4, seriesLabels<<3 | 2, 2, 0, 9}), errBroken,
		},
	} {
		if err := Decode(test.body, func(*Series) error { return nil }); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}

func TestASeriesOfVeryManyLabels(t *testing.T) {
	var b Builder
	var many []Label
	for i := range MaxLabels + 1 {
		many = append(many, Label{fmt.Sprint("l", i), "v"})
	}
	b.Add(many, Gauge, 1, 1)
	b.Add(up("a"), Gauge, 1, 1)
	got := decoded(t, b.Take())
	if len(got) != 2 || got[0].Invalid == "" || len(got[0].Labels) != 0 || got[1].Invalid != "" || len(got[1].Labels) != 2 {
		t.Errorf("got %+v", got)
	}
}

func FuzzDecode(f *testing.F) {
	var b Builder
	b.Add(up("a"), Gauge, 1000, 1)
	plain, err := snappy.Decode(nil, b.Take())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, plain []byte) {
		err := Decode(snappy.Encode(nil, plain), func(s *Series) error {
			if s.Invalid != "" && len(s.Labels) > 0 {
				t.Error("an invalid series has labels")
			}
			return nil
		})
		var theirs writev2.Request
		if err == nil && len(plain) > 0 {
			_ = theirs.Unmarshal(plain) // it may refuse more than we look at
		}
	})
}
