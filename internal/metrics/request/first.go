package request

import (
	"math"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// The headers of a request of remote write 1.0, which every receiver takes (https://prometheus.io/docs/specs/prw/remote_write_spec/).
const (
	FirstContentType = "application/x-protobuf"
	FirstVersion     = "0.1.0"
)

// Fields of its messages.
const (
	firstSeries                       = 1
	firstLabels, firstSamples         = 1, 2
	firstName, firstValue             = 1, 2
	firstSampleValue, firstSampleTime = 1, 2
)

// First puts one request of remote write 1.0 together: each series with its strings. The zero value is ready for use.
type First struct {
	body, series, inner []byte
	samples             int
}

// Add adds a sample of a series, whose labels are sorted by name.
func (b *First) Add(labels []Label, millis int64, value float64) {
	b.series = b.series[:0]
	for _, l := range labels {
		b.inner = protowire.AppendTag(b.inner[:0], firstName, protowire.BytesType)
		b.inner = protowire.AppendString(b.inner, l.Name)
		b.inner = protowire.AppendTag(b.inner, firstValue, protowire.BytesType)
		b.inner = protowire.AppendString(b.inner, l.Value)
		b.series = protowire.AppendTag(b.series, firstLabels, protowire.BytesType)
		b.series = protowire.AppendBytes(b.series, b.inner)
	}
	b.inner = protowire.AppendTag(b.inner[:0], firstSampleValue, protowire.Fixed64Type)
	b.inner = protowire.AppendFixed64(b.inner, math.Float64bits(value))
	b.inner = protowire.AppendTag(b.inner, firstSampleTime, protowire.VarintType)
	b.inner = protowire.AppendVarint(b.inner, uint64(millis))
	b.series = protowire.AppendTag(b.series, firstSamples, protowire.BytesType)
	b.series = protowire.AppendBytes(b.series, b.inner)
	b.body = protowire.AppendTag(b.body, firstSeries, protowire.BytesType)
	b.body = protowire.AppendBytes(b.body, b.series)
	b.samples++
}

// Samples is how many were added since the last Take.
func (b *First) Samples() int { return b.samples }

// Take returns the body of the request, compressed, and begins another one. Nothing was added: nil.
func (b *First) Take() []byte {
	if b.samples == 0 {
		return nil
	}
	body := snappy.Encode(nil, b.body)
	b.body, b.samples = b.body[:0], 0
	return body
}
