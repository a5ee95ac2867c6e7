package request

import (
	"errors"
	"fmt"
	"math"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// Bounds of a request that Decode reads. One of ours has 5,000 samples in some 200 kB.
const (
	// MaxBody is how many bytes it may have, MaxDecoded how many without compression.
	MaxBody, MaxDecoded = 1 << 20, 8 << 20
	// MaxSymbols is how many strings its table may have.
	MaxSymbols = 200_000
	// MaxLabels is how many labels a series may have.
	MaxLabels = 64
)

// Series is one of a request. It is valid until the function returns that is given it.
type Series struct {
	// Labels are in the order of the request.
	Labels []Label
	// Invalid says why there are no Labels.
	Invalid string
	Type    Type
	Samples []Sample
}

// Sample is a value at a time, in milliseconds since 1970.
type Sample struct {
	Millis int64
	Value  float64
}

// ErrTooLarge says that a request is larger than any of an agent's.
var ErrTooLarge = errors.New("the request is too large")

// errBroken says that a request does not follow the protocol.
var errBroken = errors.New("this is not a request of Prometheus' remote write 2.0")

// Decode calls each for every series of a request. An error of each ends it. Beside the body, without compression, it holds the table of
// strings and one series.
func Decode(body []byte, each func(*Series) error) error {
	if len(body) > MaxBody {
		return fmt.Errorf("%w: %d bytes, and %d are taken", ErrTooLarge, len(body), MaxBody)
	}
	size, err := snappy.DecodedLen(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	if size > MaxDecoded {
		return fmt.Errorf("%w: %d bytes without compression, and %d are taken", ErrTooLarge, size, MaxDecoded)
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	d := decoder{}
	if err := fields(plain, d.symbol); err != nil {
		return err
	}
	return fields(plain, func(f field) error {
		if f.number != requestSeries || f.kind != protowire.BytesType {
			return nil
		}
		if err := d.read(f.bytes); err != nil {
			return err
		}
		return each(&d.one)
	})
}

type decoder struct {
	symbols []string
	one     Series
}

func (d *decoder) symbol(f field) error {
	if f.number != requestSymbols || f.kind != protowire.BytesType {
		return nil
	}
	if len(d.symbols) == MaxSymbols {
		return fmt.Errorf("%w: its table has more than %d strings", ErrTooLarge, MaxSymbols)
	}
	d.symbols = append(d.symbols, string(f.bytes))
	return nil
}

func (d *decoder) read(raw []byte) error {
	d.one = Series{Labels: d.one.Labels[:0], Samples: d.one.Samples[:0]}
	return fields(raw, func(f field) error {
		switch {
		case f.number == seriesLabels && f.kind == protowire.BytesType:
			return d.refs(f.bytes)
		case f.number == seriesSamples && f.kind == protowire.BytesType:
			sample, err := readSample(f.bytes)
			d.one.Samples = append(d.one.Samples, sample)
			return err
		case f.number == seriesMetadata && f.kind == protowire.BytesType:
			return fields(f.bytes, func(f field) error {
				if f.number == metadataType && f.kind == protowire.VarintType && f.value <= uint64(StateSet) {
					d.one.Type = Type(f.value)
				}
				return nil
			})
		}
		return nil
	})
}

// refs reads the labels of a series: pairs of places in the table.
func (d *decoder) refs(raw []byte) error {
	next := func() (string, error) {
		at, n := protowire.ConsumeVarint(raw)
		if n < 0 || at >= uint64(len(d.symbols)) {
			return "", fmt.Errorf("%w: a label is not in the table of strings", errBroken)
		}
		raw = raw[n:]
		return d.symbols[at], nil
	}
	for len(raw) > 0 {
		name, err := next()
		if err != nil {
			return err
		}
		value, err := next()
		if err != nil {
			return err
		}
		if len(d.one.Labels) == MaxLabels {
			d.one.Invalid = fmt.Sprintf("it has more than %d labels", MaxLabels)
			d.one.Labels = d.one.Labels[:0]
			return nil
		}
		d.one.Labels = append(d.one.Labels, Label{name, value})
	}
	return nil
}

func readSample(raw []byte) (sample Sample, err error) {
	err = fields(raw, func(f field) error {
		switch {
		case f.number == sampleValue && f.kind == protowire.Fixed64Type:
			sample.Value = math.Float64frombits(f.value)
		case f.number == sampleTime && f.kind == protowire.VarintType:
			sample.Millis = int64(f.value)
		}
		return nil
	})
	return sample, err
}

// field is one of a message, with its bytes or its value.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	value  uint64
}

// fields calls each for every field of a message.
func fields(raw []byte, each func(field) error) error {
	for len(raw) > 0 {
		f := field{}
		var n int
		if f.number, f.kind, n = protowire.ConsumeTag(raw); n < 0 {
			return fmt.Errorf("%w: %w", errBroken, protowire.ParseError(n))
		}
		raw = raw[n:]
		switch f.kind {
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(raw)
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(raw)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(raw)
		default:
			n = protowire.ConsumeFieldValue(f.number, f.kind, raw)
		}
		if n < 0 {
			return fmt.Errorf("%w: %w", errBroken, protowire.ParseError(n))
		}
		raw = raw[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}
