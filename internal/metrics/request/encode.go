package request

import (
	"math"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// The headers of a request.
const (
	ContentType     = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
	ContentEncoding = "snappy"
	Version         = "2.0.0"
)

// Type of a metric, as the protocol numbers them.
type Type uint32

// The types.
const (
	Unspecified Type = iota
	Counter
	Gauge
	Histogram
	GaugeHistogram
	Summary
	Info
	StateSet
)

// Fields of the messages.
const (
	requestSymbols, requestSeries               = 4, 5
	seriesLabels, seriesSamples, seriesMetadata = 1, 2, 5
	sampleValue, sampleTime                     = 1, 2
	metadataType                                = 1
)

// Label is a name and a value.
type Label struct{ Name, Value string }

// Builder puts one request together. The zero value is ready for use.
type Builder struct {
	refs    map[string]uint64
	symbols []byte
	series  []byte
	samples int
	// one and labels are those of the series that is written.
	one, labels, inner []byte
}

// Add adds a sample of a series. The order of the labels is kept: the protocol wants them sorted by name.
func (b *Builder) Add(labels []Label, kind Type, millis int64, value float64) {
	b.labels, b.one, b.inner = b.labels[:0], b.one[:0], b.inner[:0]
	for _, l := range labels {
		b.labels = protowire.AppendVarint(b.labels, b.ref(l.Name))
		b.labels = protowire.AppendVarint(b.labels, b.ref(l.Value))
	}
	b.one = protowire.AppendTag(b.one, seriesLabels, protowire.BytesType)
	b.one = protowire.AppendBytes(b.one, b.labels)
	b.inner = protowire.AppendTag(b.inner, sampleValue, protowire.Fixed64Type)
	b.inner = protowire.AppendFixed64(b.inner, math.Float64bits(value))
	b.inner = protowire.AppendTag(b.inner, sampleTime, protowire.VarintType)
	b.inner = protowire.AppendVarint(b.inner, uint64(millis))
	b.one = protowire.AppendTag(b.one, seriesSamples, protowire.BytesType)
	b.one = protowire.AppendBytes(b.one, b.inner)
	if kind != Unspecified {
		b.inner = protowire.AppendTag(b.inner[:0], metadataType, protowire.VarintType)
		b.inner = protowire.AppendVarint(b.inner, uint64(kind))
		b.one = protowire.AppendTag(b.one, seriesMetadata, protowire.BytesType)
		b.one = protowire.AppendBytes(b.one, b.inner)
	}
	b.series = protowire.AppendTag(b.series, requestSeries, protowire.BytesType)
	b.series = protowire.AppendBytes(b.series, b.one)
	b.samples++
}

// ref returns where a string is in the table, whose first one is empty.
func (b *Builder) ref(text string) uint64 {
	if b.refs == nil {
		b.refs = map[string]uint64{}
		b.symbol("")
	}
	if at, ok := b.refs[text]; ok {
		return at
	}
	return b.symbol(text)
}

func (b *Builder) symbol(text string) uint64 {
	at := uint64(len(b.refs))
	b.refs[text] = at
	b.symbols = protowire.AppendTag(b.symbols, requestSymbols, protowire.BytesType)
	b.symbols = protowire.AppendString(b.symbols, text)
	return at
}

// Samples is how many were added since the last Take.
func (b *Builder) Samples() int { return b.samples }

// Take returns the body of the request, compressed, and begins another one. Nothing was added: nil.
func (b *Builder) Take() []byte {
	if b.samples == 0 {
		return nil
	}
	body := snappy.Encode(nil, append(b.symbols, b.series...))
	clear(b.refs)
	b.refs, b.symbols, b.series, b.samples = nil, b.symbols[:0], b.series[:0], 0
	return body
}
