package bundle

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/klauspost/compress/zstd"
	sigsjson "sigs.k8s.io/json"
)

// Decode reads the objects of a bundle one by one, in their order. After an error it yields nothing more: a caller
// that has seen one must not take what came before for the whole. The objects are the caller's to keep.
//
// The errors are ErrEmpty, ErrTooLarge, ErrMalformed, or what r gave.
func Decode(r io.Reader, limits Limits) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		zr, err := zstd.NewReader(r,
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			yield(Item{}, fmt.Errorf("%w: %w", ErrMalformed, err))
			return
		}
		defer zr.Close()
		d := decoder{lines: bufio.NewReaderSize(zr, 64<<10), limits: limits}
		for {
			item, err := d.next()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Item{}, err)
				return
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

type decoder struct {
	lines  *bufio.Reader
	limits Limits
	buffer []byte
	bytes  int64
	count  int
	last   ID
}

// next returns the next object, or io.EOF after the last one.
func (d *decoder) next() (Item, error) {
	raw, err := d.line()
	if err == io.EOF && d.count == 0 {
		return Item{}, ErrEmpty
	}
	if err != nil {
		return Item{}, err
	}
	if d.count == d.limits.Objects {
		return Item{}, fmt.Errorf("%w: more than %d objects", ErrTooLarge, d.limits.Objects)
	}
	d.count++
	var read line
	if err := sigsjson.UnmarshalCaseSensitivePreserveInts(raw, &read); err != nil {
		return Item{}, fmt.Errorf("%w: line %d: %w", ErrMalformed, d.count, err)
	}
	id, err := Identify(read.Object)
	if err != nil {
		return Item{}, fmt.Errorf("line %d, file %q: %w", d.count, read.File, err)
	}
	if d.count > 1 && d.last.Compare(id) >= 0 {
		return Item{}, fmt.Errorf("%w: line %d: %s does not come after %s", ErrMalformed, d.count, id, d.last)
	}
	d.last = id
	return Item{Entry: Entry(read), ID: id}, nil
}

// line returns the next line without its end. The bytes are valid until the next call.
func (d *decoder) line() ([]byte, error) {
	d.buffer = d.buffer[:0]
	for {
		part, err := d.lines.ReadSlice('\n')
		d.bytes += int64(len(part))
		if d.bytes > d.limits.Bytes {
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, d.limits.Bytes)
		}
		if len(d.buffer)+len(part) > d.limits.ObjectBytes {
			return nil, fmt.Errorf("%w: line %d has more than %d bytes", ErrTooLarge, d.count+1, d.limits.ObjectBytes)
		}
		d.buffer = append(d.buffer, part...)
		switch {
		case err == nil:
			return d.buffer[:len(d.buffer)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(d.buffer) == 0:
			return nil, io.EOF
		case err == io.EOF:
			return nil, fmt.Errorf("%w: line %d has no end", ErrMalformed, d.count+1)
		default:
			return nil, fmt.Errorf("%w: after line %d: %w", ErrMalformed, d.count, err)
		}
	}
}
