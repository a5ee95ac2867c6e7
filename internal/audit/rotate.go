package audit

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rotating is the file that is written to, and those before it: audit-NUMBER.log, which become audit-NUMBER.log.gz. The
// numbers count up, so that their order is that of the events whatever the clock does. It has one writer.
type rotating struct {
	path string
	max  int64
	keep kept
	now  func() time.Time
	log  *slog.Logger

	open *os.File // nil when it has to be opened
	size int64

	tidying sync.WaitGroup
	tidy    chan struct{} // closed when the log is
}

// kept is how much is kept beside the file that is written to.
type kept struct {
	files int
	age   time.Duration
}

// newRotating returns the files of a log. Close ends what it has started.
func newRotating(path string, config LogConfig) *rotating {
	r := &rotating{
		path: path, max: int64(config.MaxMegabytes) << 20, keep: kept{config.MaxFiles, time.Duration(config.MaxDays) * 24 * time.Hour},
		now: config.Now, log: config.Log, tidy: make(chan struct{}, 1),
	}
	r.tidying.Go(func() {
		for range r.tidy {
			if err := r.tidyUp(); err != nil {
				r.log.Error("tidying the audit log up", "error", err)
			}
		}
	})
	r.tidySoon()
	return r
}

// Write implements file.
func (r *rotating) Write(p []byte) (int, error) {
	if err := r.ready(); err != nil {
		return 0, err
	}
	if r.size > 0 && r.size+int64(len(p)) > r.max {
		if err := r.Rotate(); err != nil {
			return 0, err
		}
	}
	n, err := r.open.Write(p)
	r.size += int64(n)
	return n, err
}

func (r *rotating) ready() error {
	if r.open != nil {
		return nil
	}
	f, err := os.OpenFile(r.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.open, r.size = f, info.Size()
	return nil
}

// Rotate implements file.
func (r *rotating) Rotate() error {
	if err := r.close(); err != nil {
		return err
	}
	next, err := following(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	if err := os.Rename(r.path, rotated(filepath.Dir(r.path), next)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.tidySoon()
	return r.ready()
}

func (r *rotating) close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}

// Close implements file: what is being compressed is so first.
func (r *rotating) Close() error {
	close(r.tidy)
	r.tidying.Wait()
	return r.close()
}

func (r *rotating) tidySoon() {
	select {
	case r.tidy <- struct{}{}:
	default:
	}
}

// tidyUp removes what is beyond the bounds, and compresses what is not compressed. The newest stays until there is another
// one: by its number readers know which number the current file will have.
func (r *rotating) tidyUp() error {
	dir := filepath.Dir(r.path)
	numbers, err := list(dir)
	if err != nil {
		return err
	}
	var errs []error
	for i, number := range numbers {
		plain := rotated(dir, number)
		last, ends := lastWritten(plain)
		if !ends {
			last, ends = lastWritten(plain + compressed)
		}
		aged := ends && r.now().Sub(last) > r.keep.age && i < len(numbers)-1
		if aged || i < len(numbers)-r.keep.files {
			errs = append(errs, remove(plain), remove(plain+compressed))
			continue
		}
		errs = append(errs, compress(plain))
	}
	return errors.Join(errs...)
}

func lastWritten(path string) (time.Time, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, false
	}
	return info.ModTime(), true
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// compress replaces a file, if it is there, by a compressed one of the same age. Killed in between, it is done again.
func compress(path string) error {
	from, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was read only
	info, err := from.Stat()
	if err != nil {
		return err
	}
	half := path + compressed + ".part"
	if err := zip(from, half); err != nil {
		return errors.Join(fmt.Errorf("compressing %s: %w", path, err), remove(half))
	}
	return errors.Join(os.Chtimes(half, info.ModTime(), info.ModTime()), os.Rename(half, path+compressed), remove(path))
}

func zip(from io.Reader, path string) error {
	to, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	zipped := gzip.NewWriter(to)
	_, err = io.Copy(zipped, from)
	return errors.Join(err, zipped.Close(), to.Sync(), to.Close())
}

// rotated is the path of a file that was rotated, before it is compressed.
func rotated(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("audit-%010d.log", number))
}

// following returns the number that the current file will have.
func following(dir string) (uint64, error) {
	numbers, err := list(dir)
	if err != nil || len(numbers) == 0 {
		return 1, err
	}
	return numbers[len(numbers)-1] + 1, nil
}

// list returns the numbers of the files that were rotated, in their order.
func list(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the folder of the audit log: %w", err)
	}
	var numbers []uint64
	for _, entry := range entries {
		name, ours := strings.CutPrefix(strings.TrimSuffix(entry.Name(), compressed), "audit-")
		name, also := strings.CutSuffix(name, ".log")
		if number, err := strconv.ParseUint(name, 10, 64); ours && also && err == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), nil
}
