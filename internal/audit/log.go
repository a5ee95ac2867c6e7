package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const (
	// fileName is the file that is written to; those before it are audit-NUMBER.log.gz.
	fileName = "audit.log"

	// maxPending is how many bytes wait for a disk that does not take them: some ten thousand events.
	maxPending = 8 << 20
	// maxChunk is how much is written at once, in whole lines. A file is larger than it.
	maxChunk = 512 << 10
	// patience is how long a request waits for its line on a disk that hangs. From then on nobody waits until it is back.
	patience = 2 * time.Second
	// retryAfter is how long a disk that has refused is left alone.
	retryAfter = time.Second
	// lookEvery is how often somebody looks whether a day has begun.
	lookEvery = 10 * time.Minute
)

// Bounds of a log, unless its LogConfig has others: about half a gigabyte before compression, which makes it a twentieth.
const (
	DefaultMaxMegabytes = 50
	DefaultMaxFiles     = 10
	DefaultMaxDays      = 30
)

// LogConfig says where a Log is and how much it keeps.
type LogConfig struct {
	// Dir is the folder of the log. It is made, for its owner alone.
	Dir string
	// MaxMegabytes is how large the file becomes that is written to. The default is DefaultMaxMegabytes.
	MaxMegabytes int
	// MaxFiles is how many files are kept beside it. The default is DefaultMaxFiles.
	MaxFiles int
	// MaxDays is for how long they are kept. The default is DefaultMaxDays.
	MaxDays int
	// Now is the clock. The default is time.Now.
	Now func() time.Time
	Log *slog.Logger
}

func (c *LogConfig) complete() {
	for bound, value := range map[*int]int{&c.MaxMegabytes: DefaultMaxMegabytes, &c.MaxFiles: DefaultMaxFiles, &c.MaxDays: DefaultMaxDays} {
		if *bound == 0 {
			*bound = value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

// file is what a log is written to.
type file interface {
	// Write appends p, to a new file when this one is full. What it wrote of p it says with an error.
	Write(p []byte) (int, error)
	// Rotate begins a new file, and has old ones removed.
	Rotate() error
	// Close waits for what is done with old ones.
	Close() error
}

// Log is the audit log in a folder. It is safe for concurrent use. A nil Log records nothing.
type Log struct {
	config    LogConfig
	path      string
	file      file
	strangers *rate.Limiter

	wake, closing, closed chan struct{}

	// The writer's own.
	torn bool      // the file ends within a line
	day  time.Time // when the file was begun

	mu      sync.Mutex
	pending []byte        // whole lines that wait
	flying  int           // bytes that are being written
	batch   chan struct{} // closed when what is pending was written, or could not be
	news    chan struct{} // closed when something was written
	stuck   bool          // the disk does not take lines
	lost    int           // events that found no room
	omitted int           // events about strangers that were left out
}

// Open opens the log in a folder, or makes it. Close ends it.
func Open(config LogConfig) (*Log, error) {
	config.complete()
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the audit log: %w", err)
	}
	path := filepath.Join(config.Dir, fileName)
	torn, day, err := look(path, config.Now())
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	l := newLog(config, newRotating(path, config))
	l.torn, l.day = torn, day
	go l.run()
	return l, nil
}

func newLog(config LogConfig, to file) *Log {
	return &Log{
		config: config, path: filepath.Join(config.Dir, fileName), file: to, strangers: rate.NewLimiter(1, 20), day: config.Now(),
		wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
		batch: make(chan struct{}), news: make(chan struct{}),
	}
}

// look says whether a file ends within a line, as after kill -9, and when it was begun, as far as that is known.
func look(path string, now time.Time) (torn bool, day time.Time, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, now, nil
	}
	if err != nil {
		return false, now, err
	}
	defer f.Close() //nolint:errcheck // it was read only
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, now, err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return false, now, err
	}
	return last[0] != '\n', info.ModTime(), nil
}

// Close writes what waits, as far as the disk takes it, and closes the log; a second time it does nothing. What is recorded later is lost, and logged.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.isClosing()
	if !again {
		close(l.closing)
	}
	l.mu.Unlock()
	if again {
		return nil
	}
	hangs := time.NewTimer(patience)
	defer hangs.Stop()
	select {
	case <-l.closed:
	case <-hangs.C:
		return fmt.Errorf("closing the audit log %s: the disk hangs", l.path)
	}
	l.mu.Lock()
	left := bytes.Count(l.pending, []byte("\n")) + l.lost
	l.mu.Unlock()
	if left > 0 {
		return errors.Join(l.file.Close(), fmt.Errorf("closing the audit log %s: %d events could not be written", l.path, left))
	}
	return l.file.Close()
}

// Record writes an event. When it returns the event is in the file, unless the disk is full or hangs: then it waits in
// memory, or is counted as lost when there is no room.
func (l *Log) Record(event *auditv1.Event) {
	if l == nil {
		return
	}
	line := encode(event)
	l.mu.Lock()
	if len(l.pending)+l.flying+len(line) > maxPending || l.isClosing() {
		l.lost++
		first := l.lost == 1
		l.mu.Unlock()
		if first {
			l.config.Log.Error("audit events are being lost: the disk takes none, and the memory for them is full", "file", l.path)
		}
		return
	}
	l.pending = append(l.pending, line...)
	written, stuck := l.batch, l.stuck
	l.mu.Unlock()
	l.poke()
	if !stuck {
		l.await(written)
	}
}

// poke has the writer look.
func (l *Log) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *Log) isClosing() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

func (l *Log) await(written <-chan struct{}) {
	hangs := time.NewTimer(patience)
	defer hangs.Stop()
	select {
	case <-written:
	case <-l.closed:
	case <-hangs.C:
		l.sticks(errors.New("it hangs"))
	}
}

// sticks notes that the disk takes no lines.
func (l *Log) sticks(why error) {
	l.mu.Lock()
	before := l.stuck
	l.stuck = true
	l.mu.Unlock()
	if !before {
		l.config.Log.Error("the audit log cannot be written: events wait in memory", "file", l.path, "error", why)
	}
}

// recordStranger writes an event that anybody can cause, if it is not one of too many.
func (l *Log) recordStranger(event *auditv1.Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	if !l.strangers.AllowN(l.config.Now(), 1) {
		l.omitted++
		l.mu.Unlock()
		return
	}
	if l.omitted > 0 {
		event.Annotations[OmittedAnnotation] = strconv.Itoa(l.omitted)
		l.omitted = 0
	}
	l.mu.Unlock()
	l.Record(event)
}

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.closed)
	days := time.NewTicker(lookEvery)
	defer days.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-l.closing:
			l.flush()
			return
		case <-l.wake:
			if again != nil {
				continue // the disk has refused a moment ago
			}
		case <-again:
		case <-days.C:
			l.turn()
			continue
		}
		again = nil
		if !l.flush() {
			again = time.After(retryAfter)
		}
	}
}

// flush writes what waits, and says whether the disk took it. Those who wait for it go on either way.
func (l *Log) flush() bool {
	l.mu.Lock()
	lines, batch := l.pending, l.batch
	l.pending, l.batch, l.flying = nil, make(chan struct{}), len(lines)
	l.mu.Unlock()
	defer close(batch)
	rest, err := l.write(lines)

	l.mu.Lock()
	l.pending, l.flying = append(rest, l.pending...), 0
	if len(rest) < len(lines) {
		close(l.news)
		l.news = make(chan struct{})
	}
	before, lost := l.stuck, l.lost
	if err == nil {
		l.stuck = false
	}
	if err == nil && lost > 0 && !l.isClosing() {
		l.pending, l.lost = append(l.pending, encode(l.loss(lost))...), 0
		l.poke()
	}
	l.mu.Unlock()
	if err != nil {
		l.sticks(err)
		return false
	}
	if before {
		l.config.Log.Info("the audit log is being written again", "file", l.path, "lost", lost)
	}
	return true
}

// loss tells how many events were lost.
func (l *Log) loss(lost int) *auditv1.Event {
	event := newEvent(l.config.Now())
	event.User, event.Verb = hubUser(), "lose"
	event.Annotations[LostAnnotation] = strconv.Itoa(lost)
	event.ResponseStatus = &metav1.Status{
		Status: metav1.StatusFailure, Code: 507, Message: fmt.Sprintf("%d audit events were lost: the disk took none, and the memory for them was full", lost),
	}
	return event
}

// write writes lines in chunks, and returns those that were not written whole.
func (l *Log) write(lines []byte) ([]byte, error) {
	l.turn()
	for len(lines) > 0 {
		chunk := lines
		if len(chunk) > maxChunk {
			chunk = chunk[:maxChunk]
			if end := bytes.LastIndexByte(chunk, '\n'); end >= 0 {
				chunk = chunk[:end+1]
			}
		}
		if l.torn {
			if _, err := l.file.Write([]byte("\n")); err != nil {
				return lines, err
			}
			l.torn = false
		}
		n, err := l.file.Write(chunk)
		whole := bytes.LastIndexByte(chunk[:n], '\n') + 1
		l.torn = n > whole
		lines = lines[whole:]
		if err != nil {
			return lines, err
		}
	}
	return nil, nil
}

// turn begins a new file with each day, so that what is old ages out where little happens.
func (l *Log) turn() {
	now := l.config.Now().UTC()
	if began := l.day.UTC(); began.Year() == now.Year() && began.YearDay() == now.YearDay() {
		return
	}
	if info, err := os.Stat(l.path); err == nil && info.Size() > 0 {
		if err := l.file.Rotate(); err != nil {
			l.sticks(err)
			return
		}
		l.torn = false
	}
	l.day = now
}

// written returns a channel that is closed when something is written.
func (l *Log) written() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.news
}
