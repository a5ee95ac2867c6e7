package audit

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	compressed = ".gz"
	// maxLine is the longest line that is read. None of ours is so long.
	maxLine = 1 << 20
)

// Report says what a Source had to leave out.
type Report struct {
	// Damaged is how many lines, or files, could not be read: garbage, or what kill -9 left of a line.
	Damaged int `json:"damaged"`
	// Earlier is how many events were asked for that are older than the Last ones of a Query.
	Earlier int `json:"earlier,omitempty"`
}

// add counts what another one left out as well.
func (r *Report) add(other Report) {
	r.Damaged += other.Damaged
	r.Earlier += other.Earlier
}

// Source is where events are read: the log of one replica of the hub, or those of several.
type Source interface {
	// Read calls yield with each event that is asked for, the oldest first, as the line of JSON that it was written as, with
	// its end. The line is yield's until it returns. With Follow it goes on until ctx ends, which is no error. An error of
	// yield ends it, and is returned.
	Read(ctx context.Context, query Query, yield func(line []byte) error) (Report, error)
}

var _ Source = (*Log)(nil)

// Read implements Source over the files of the log: the rotated ones in their order, then the one that is written to.
func (l *Log) Read(ctx context.Context, query Query, yield func(line []byte) error) (Report, error) {
	r := &reader{ctx: ctx, dir: filepath.Dir(l.path), query: query, yield: yield, news: l.written}
	err := r.run()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) && query.Follow {
		err = nil
	}
	return r.report, err
}

// reader is one Read.
type reader struct {
	ctx    context.Context
	dir    string
	query  Query
	yield  func([]byte) error
	news   func() <-chan struct{}
	report Report

	last uint64 // the number of the last rotated file that was read
}

// run reads rotated files until there is none left, then the current one. A file that is rotated meanwhile is met under
// its new name, or, once it is open, read to its end: its content moves nowhere.
func (r *reader) run() error {
	for {
		next, err := r.next()
		if err != nil {
			return err
		}
		if next != 0 {
			r.last = next
			if err := r.rotated(next); err != nil {
				return err
			}
			continue
		}
		more, err := r.current()
		if err != nil || !more {
			return err
		}
	}
}

// next returns the number of the oldest rotated file after the last one, or 0. One that was written to for the last time
// before what is asked for began holds nothing of it.
func (r *reader) next() (uint64, error) {
	numbers, err := list(r.dir)
	if err != nil {
		return 0, err
	}
	for _, number := range numbers {
		if number <= r.last {
			continue
		}
		for _, name := range []string{rotated(r.dir, number), rotated(r.dir, number) + compressed} {
			if last, there := lastWritten(name); there && last.Add(time.Second).After(r.query.Since) {
				return number, nil
			}
		}
	}
	return 0, nil
}

// rotated reads one file.
func (r *reader) rotated(number uint64) error {
	return r.file(rotated(r.dir, number), rotated(r.dir, number)+compressed)
}

// file reads the first of these files that is there, to its end. It may be compressed, be in the course of it, or have aged out
// by now.
func (r *reader) file(names ...string) error {
	for _, name := range names {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		defer f.Close() //nolint:errcheck // it was read only
		var from io.Reader = f
		if strings.HasSuffix(name, compressed) {
			unzipped, err := gzip.NewReader(f)
			if err != nil {
				r.report.Damaged++
				return nil
			}
			from = unzipped
		}
		lines := newLines(from)
		if err := r.all(lines); err != nil {
			return err
		}
		if lines.left() {
			r.report.Damaged++
		}
		return nil
	}
	return nil
}

// current reads the file that is written to; with Follow until it is rotated. more says that there are files to read still.
func (r *reader) current() (more bool, err error) {
	f, err := os.Open(r.currentPath())
	if errors.Is(err, fs.ErrNotExist) {
		// Between two files, or before the first.
		return r.gap()
	}
	if err != nil {
		return false, fmt.Errorf("reading the audit log: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	// The number that this file will have when it is rotated; if that is now, it has turned.
	number, err := following(r.dir)
	if err != nil {
		return false, err
	}
	if next, err := r.next(); next != 0 || err != nil || turned(f, r.currentPath()) {
		return true, err // rotated a moment ago: that one comes first
	}
	lines := newLines(f)
	for {
		news := r.news()
		turned := turned(f, r.currentPath()) // before it is read: what was written to it is written then
		if err := r.all(lines); err != nil || !r.query.Follow {
			return false, err
		}
		if turned {
			r.last = number
			return true, nil
		}
		if err := r.wait(news); err != nil {
			return false, err
		}
	}
}

// gap is when there is no file to write to.
func (r *reader) gap() (more bool, err error) {
	news := r.news()
	next, err := r.next()
	if next != 0 || err != nil || !r.query.Follow {
		return next != 0, err
	}
	return true, r.wait(news)
}

func (r *reader) wait(news <-chan struct{}) error {
	select {
	case <-news:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

func (r *reader) currentPath() string { return filepath.Join(r.dir, fileName) }

// turned says whether the file that is written to, at path, is another one by now.
func turned(f *os.File, path string) bool {
	now, err := os.Stat(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	opened, err := f.Stat()
	return err == nil && !os.SameFile(now, opened)
}

// all yields what is asked for of the lines that are there now.
func (r *reader) all(lines *lines) error {
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		text, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errTooLong) || errors.Is(err, errDamaged) {
			r.report.Damaged++
			if errors.Is(err, errDamaged) {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the audit log: %w", err)
		}
		asked, err := r.query.Matches(text)
		if err != nil {
			r.report.Damaged++
		}
		if !asked {
			continue
		}
		if err := r.yield(text); err != nil {
			return err
		}
	}
}

var (
	errTooLong = errors.New("the line is longer than any of ours")
	errDamaged = errors.New("the rest of the file is damaged")
)

// lines are those of a file, however long it is, and whether or not somebody writes to it.
type lines struct {
	from    *bufio.Reader
	part    []byte // of a line whose end is not there yet
	skipped bool   // the line is too long: what comes of it is dropped
}

func newLines(from io.Reader) *lines { return &lines{from: bufio.NewReaderSize(from, 64<<10)} }

// next returns the next whole line, or io.EOF when there is none yet.
func (l *lines) next() ([]byte, error) {
	for {
		piece, err := l.from.ReadSlice('\n')
		whole := err == nil
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
		if !l.skipped {
			l.part = append(l.part, piece...)
		}
		if len(l.part) > maxLine {
			l.part, l.skipped = nil, true
		}
		switch {
		case whole && l.skipped:
			l.skipped = false
			return nil, errTooLong
		case whole:
			text := l.part
			l.part = l.part[:0]
			return text, nil
		case corrupt(err):
			return nil, errDamaged
		case err != nil:
			return nil, err
		}
	}
}

// left says whether the file ends within a line.
func (l *lines) left() bool { return len(l.part) > 0 || l.skipped }

// corrupt says whether a compressed file is not as it was written.
func corrupt(err error) bool {
	var flaw flate.CorruptInputError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.As(err, &flaw)
}
