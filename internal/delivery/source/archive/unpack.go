package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"

	"umbel.dev/umbel/internal/delivery/source"
)

// Budget is what may still be unpacked.
type Budget struct {
	files int
	bytes int64
}

// NewBudget returns that of some limits.
func NewBudget(limits source.Limits) *Budget {
	return &Budget{files: limits.Files, bytes: limits.Bytes}
}

// maxWindow bounds what a zstd archive can make its reader hold in memory.
const maxWindow = 64 << 20

// Unpack adds the files of a tar archive, plain or compressed with gzip or zstd. It reads to the end.
func (f *Files) Unpack(packed io.Reader, budget *Budget) error {
	plain, done, err := decompress(bufio.NewReader(packed))
	if err != nil {
		return err
	}
	defer done()
	// An archive of nothing but headers, or of one sparse file, is as large as what it unpacks to.
	limited := &counted{Reader: plain, left: budget.bytes + int64(budget.files+2)*2048}
	archive := tar.NewReader(limited)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, packed) // so that all of it was hashed
			return err
		}
		if err == nil {
			err = f.unpackEntry(archive, header, budget)
		}
		if err != nil {
			return fmt.Errorf("unpacking the archive: %w", err)
		}
	}
}

func (f *Files) unpackEntry(archive io.Reader, header *tar.Header, budget *Budget) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := local(header.Name)
	if err != nil {
		return err
	}
	if budget.files--; budget.files < 0 {
		return source.ErrTooLarge
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return f.put(name, fs.ModeDir|0o555, nil)
	case tar.TypeSymlink, tar.TypeLink:
		return f.put(name, fs.ModeSymlink|0o444, nil)
	case tar.TypeReg:
		content, err := budget.read(archive)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return f.put(name, 0o444, content)
	}
	return fmt.Errorf("%s: is neither a file nor a folder nor a link", name)
}

// Add adds one file.
func (f *Files) Add(name string, content io.Reader, budget *Budget) error {
	cleaned, err := local(name)
	if err != nil {
		return err
	}
	if budget.files--; budget.files < 0 {
		return source.ErrTooLarge
	}
	read, err := budget.read(content)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.put(cleaned, 0o444, read)
}

func (b *Budget) read(content io.Reader) ([]byte, error) {
	read, err := io.ReadAll(io.LimitReader(content, b.bytes+1))
	if err != nil {
		return nil, err
	}
	if b.bytes -= int64(len(read)); b.bytes < 0 {
		return nil, source.ErrTooLarge
	}
	return read, nil
}

// counted reads so many bytes and no more.
type counted struct {
	io.Reader
	left int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n, source.ErrTooLarge
	}
	return n, err
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress knows an archive by its first bytes: media types do not always tell.
func decompress(packed *bufio.Reader) (io.Reader, func(), error) {
	first, err := packed.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(first, gzipMagic):
		plain, err := gzip.NewReader(packed)
		return plain, func() {}, err
	case bytes.HasPrefix(first, zstdMagic):
		plain, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return plain, plain.Close, nil
	}
	return packed, func() {}, nil
}
