package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// window is how far back the compressor refers, and so what a reader has to keep.
const window = 1 << 20

// Encode makes a bundle of the entries, in any order. It refuses none at all (ErrEmpty), two of the same object, an
// object that does not say who it is (ErrMalformed), and more than DefaultLimits (ErrTooLarge).
func Encode(entries []Entry) ([]byte, error) {
	if len(entries) == 0 {
		return nil, ErrEmpty
	}
	if len(entries) > DefaultLimits.Objects {
		return nil, fmt.Errorf("%w: %d objects, the limit is %d", ErrTooLarge, len(entries), DefaultLimits.Objects)
	}
	items := make([]Item, len(entries))
	for i, entry := range entries {
		item, err := canonical(entry)
		if err != nil {
			return nil, fmt.Errorf("encoding an object of file %q: %w", entry.File, err)
		}
		items[i] = item
	}
	slices.SortFunc(items, func(a, b Item) int { return a.ID.Compare(b.ID) })
	for i := 1; i < len(items); i++ {
		if items[i-1].ID.Compare(items[i].ID) == 0 {
			return nil, fmt.Errorf("%w: %s is in file %q and in file %q",
				ErrMalformed, items[i].ID, items[i-1].File, items[i].File)
		}
	}
	return compress(items)
}

func compress(items []Item) ([]byte, error) {
	var out bytes.Buffer
	zw, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, fmt.Errorf("starting the compressor: %w", err)
	}
	written := &counter{w: zw}
	lines := json.NewEncoder(written)
	lines.SetEscapeHTML(false)
	for _, item := range items {
		before := written.n
		if err := lines.Encode(line{File: item.File, Object: item.Object}); err != nil {
			return nil, fmt.Errorf("writing %s of file %q: %w", item.ID, item.File, err)
		}
		if n := written.n - before; n > int64(DefaultLimits.ObjectBytes) {
			return nil, fmt.Errorf("%w: %s in file %q has %d bytes, the limit for one object is %d",
				ErrTooLarge, item.ID, item.File, n, DefaultLimits.ObjectBytes)
		}
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("ending the compression: %w", err)
	}
	if written.n > DefaultLimits.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, written.n, DefaultLimits.Bytes)
	}
	return out.Bytes(), nil
}

// canonical rewrites an object so that equal objects have equal bytes.
func canonical(entry Entry) (Item, error) {
	decoder := json.NewDecoder(bytes.NewReader(entry.Object))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return Item{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Item{}, fmt.Errorf("%w: more than one object in an entry", ErrMalformed)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(object); err != nil {
		return Item{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	raw := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
	id, err := Identify(raw)
	if err != nil {
		return Item{}, err
	}
	// JSON cannot hold invalid UTF-8; replaced here, it reads back as it was written.
	file := strings.ToValidUTF8(entry.File, "\ufffd")
	return Item{Entry: Entry{File: file, Object: raw}, ID: id}, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
