package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// DefaultSize is how many bytes a queue may have: a cluster that sends 2,000 samples a minute fills it in two days.
const DefaultSize = 128 << 20

// suffix is what the names of its files end with.
const suffix = ".request"

// Queue is a folder of requests. It is safe for concurrent use; one at a time takes from it.
type Queue struct {
	dir  string
	size int64
	log  *slog.Logger

	mu      sync.Mutex
	entries []entry // the oldest first
	bytes   int64
	last    uint64
	dropped int       // since it was said last
	said    time.Time // when that was
	more    chan struct{}
}

type entry struct {
	number uint64
	bytes  int64
}

// Open opens the queue of a folder, or makes it. It is to have size bytes at most.
func Open(dir string, size int64, log *slog.Logger) (*Queue, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of what was measured: %w", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading what was measured: %w", err)
	}
	q := &Queue{dir: dir, size: size, log: log, more: make(chan struct{}, 1)}
	for _, file := range files {
		if err := q.found(file); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(q.entries, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	if n := len(q.entries); n > 0 {
		q.last = q.entries[n-1].number
		q.signal()
	}
	return q, nil
}

// found takes in a file that was there. One that was being written when the agent was killed goes.
func (q *Queue) found(file fs.DirEntry) error {
	name, is := strings.CutSuffix(file.Name(), suffix)
	number, err := strconv.ParseUint(name, 10, 64)
	if !is || err != nil {
		if strings.Contains(file.Name(), suffix) { // renameio's, of a write that did not end
			return os.Remove(filepath.Join(q.dir, file.Name()))
		}
		return nil
	}
	info, err := file.Info()
	if err != nil {
		return fmt.Errorf("reading what was measured: %w", err)
	}
	q.entries, q.bytes = append(q.entries, entry{number, info.Size()}), q.bytes+info.Size()
	return nil
}

func (q *Queue) path(number uint64) string {
	return filepath.Join(q.dir, fmt.Sprintf("%020d%s", number, suffix))
}

func (q *Queue) signal() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// Put keeps a request. When it returns nil, the request outlives the process.
func (q *Queue) Put(body []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.makeRoom(int64(len(body))); err != nil {
		return err
	}
	if err := renameio.WriteFile(q.path(q.last+1), body, 0o600); err != nil {
		return fmt.Errorf("keeping what was measured: %w", err)
	}
	q.last++
	q.entries, q.bytes = append(q.entries, entry{q.last, int64(len(body))}), q.bytes+int64(len(body))
	q.signal()
	return nil
}

// sayEvery is how often at most it is said that requests were dropped.
const sayEvery = 10 * time.Minute

// makeRoom drops the oldest until there is room. The caller holds the lock.
func (q *Queue) makeRoom(bytes int64) error {
	for len(q.entries) > 0 && q.bytes+bytes > q.size {
		if err := q.remove(0); err != nil {
			return err
		}
		q.dropped++
	}
	if q.dropped > 0 && time.Since(q.said) > sayEvery {
		q.log.Warn("what was measured first is dropped: nobody has taken it, and the queue is full", "requests", q.dropped, "bytes", q.size)
		q.dropped, q.said = 0, time.Now()
	}
	return nil
}

// remove takes out an entry. The caller holds the lock.
func (q *Queue) remove(at int) error {
	if err := os.Remove(q.path(q.entries[at].number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing what was measured: %w", err)
	}
	q.bytes -= q.entries[at].bytes
	q.entries = slices.Delete(q.entries, at, at+1)
	return nil
}

// Next returns the oldest request, and its number. It waits until there is one, or ctx ends.
func (q *Queue) Next(ctx context.Context) (body []byte, number uint64, err error) {
	for {
		q.mu.Lock()
		if len(q.entries) > 0 {
			number = q.entries[0].number
			body, err = os.ReadFile(q.path(number))
			if errors.Is(err, fs.ErrNotExist) { // somebody removed it
				err = q.remove(0)
				q.mu.Unlock()
				if err != nil {
					return nil, 0, err
				}
				continue
			}
			q.mu.Unlock()
			if err != nil {
				return nil, 0, fmt.Errorf("reading what was measured: %w", err)
			}
			return body, number, nil
		}
		q.mu.Unlock()
		select {
		case <-q.more:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// Done removes a request. It is no error when it is gone already.
func (q *Queue) Done(number uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := slices.IndexFunc(q.entries, func(e entry) bool { return e.number == number })
	if at < 0 {
		return nil
	}
	return q.remove(at)
}

// Len is how many requests wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries)
}
