package render

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits bound one rendering.
type Limits struct {
	// Time that it may take.
	Time time.Duration
	// Memory that the process that renders may have, in bytes. It is looked at many times a second; the system refuses it twice as
	// much and more.
	Memory int64
	// Output is the size of all objects as JSON, in bytes.
	Output int64
}

// DefaultLimits are a minute, 512 MiB and 64 MiB: some hundred times what the largest sources need that we know.
var DefaultLimits = Limits{Time: time.Minute, Memory: 512 << 20, Output: 64 << 20}

// idle is how long a process that has nothing to render is kept.
const idle = 30 * time.Second

// errTooMuch says that a process has more memory than it may have.
var errTooMuch = errors.New("too much memory")

// errGone says that a process ended for no reason that is known here.
var errGone = errors.New("the process that renders ended")

// reader finds the objects of a folder.
type reader func(files fs.FS, folder string, add additions) ([]object, error)

// Workers render in processes of their own, which reach nothing but the files that they are shown: a source that would take
// for ever, or all memory, ends its process and nothing else. A process renders one folder after another.
type Workers struct {
	command func() *exec.Cmd
	limits  Limits
	turns   chan struct{}

	mu    sync.Mutex
	spare []*worker
}

// NewWorkers returns Workers whose processes are started by command, and run Work. All of them end with the context.
// At most parallel render at a time.
func NewWorkers(ctx context.Context, command func() *exec.Cmd, limits Limits, parallel int) *Workers {
	w := &Workers{command: command, limits: limits, turns: make(chan struct{}, parallel)}
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, spare := range w.spare {
			spare.end()
		}
		w.spare = nil
	})
	return w
}

// job is what a worker is told to render.
type job struct {
	Folder string
	Add    additions
	Chart  *ChartOptions // of a chart; nil for any other folder
	Limits Limits
}

// said is what a worker says: that it wants to look at something, some of the objects, that it is done, or that it has too much
// memory.
type said struct {
	Look    *asked
	Objects []sentObject
	Done    *outcome
	TooMuch bool
}

// outcome is what came of a job.
type outcome struct {
	LeftOut []string
	Err     string

	objects []object // that came before it
}

// sentObject is an object on its way from a worker.
type sentObject struct {
	File           string
	Document, Line int
	Fields         []byte
}

// Folder is the Maker of a folder of files, as Folder is.
func (w *Workers) Folder(files fs.FS, folder string, remote ...Base) Maker {
	return folderBy(w.read, files, folder, remote...)
}

// Chart is the Maker of a chart, as Chart is.
func (w *Workers) Chart(files fs.FS, folder string, o ChartOptions) Maker {
	return chartBy(w.readChart, files, folder, o)
}

// Command starts a process that renders, of the program umbel.
func Command(program string) *exec.Cmd {
	command := exec.Command(program, "hub", "render-worker")
	command.Dir, command.Env = "/", []string{"PATH="} // it needs nothing of ours
	return command
}

// read is a reader.
func (w *Workers) read(files fs.FS, folder string, add additions) ([]object, error) {
	done, err := w.render(files, job{Folder: folder, Add: add, Limits: w.limits})
	if err != nil {
		return nil, err
	}
	return done.objects, nil
}

// readChart is a chartReader.
func (w *Workers) readChart(files fs.FS, folder string, o ChartOptions) (charted, error) {
	done, err := w.render(files, job{Folder: folder, Chart: &o, Limits: w.limits})
	if err != nil {
		return charted{}, err
	}
	return charted{done.objects, done.LeftOut}, nil
}

// render has a job done when it is its turn.
func (w *Workers) render(files fs.FS, j job) (*outcome, error) {
	w.turns <- struct{}{}
	defer func() { <-w.turns }()
	done, err := w.do(files, j)
	if err != nil {
		return nil, fmt.Errorf("rendering folder %q: %w", j.Folder, err)
	}
	if done.Err != "" {
		return nil, errors.New(done.Err)
	}
	return done, nil
}

// received unpacks objects that a worker sent.
func received(objects []object, sent []sentObject) ([]object, error) {
	for _, o := range sent {
		value, err := decode(o.Fields)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.File, err)
		}
		fields, _ := value.(map[string]any)
		objects = append(objects, object{place: place{file: o.File, document: o.Document, line: o.Line}, fields: fields})
	}
	return objects, nil
}

// do has a process do a job. One that was kept and has gone meanwhile is no reason to fail.
func (w *Workers) do(files fs.FS, j job) (*outcome, error) {
	for {
		at, kept, err := w.take()
		if err != nil {
			return nil, fmt.Errorf("starting a process for it: %w", err)
		}
		done, err := at.do(files, j)
		if err == nil {
			w.give(at)
			return done, nil
		}
		if !kept || !errors.Is(err, errGone) {
			return nil, err
		}
	}
}

// take returns a process that was kept, or starts one.
func (w *Workers) take() (at *worker, kept bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := len(w.spare) - 1; last >= 0 {
		at := w.spare[last]
		w.spare = w.spare[:last]
		at.expire.Stop()
		return at, true, nil
	}
	at, err = startWorker(w.command())
	return at, false, err
}

// give keeps a process for the next job, for a while.
func (w *Workers) give(at *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spare = append(w.spare, at)
	at.expire = time.AfterFunc(idle, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i, spare := range w.spare {
			if spare == at {
				w.spare = append(w.spare[:i:i], w.spare[i+1:]...)
				at.end()
				return
			}
		}
	})
}

// worker is one process.
type worker struct {
	command *exec.Cmd
	in      io.WriteCloser
	send    *gob.Encoder
	receive *gob.Decoder
	errors  *tail
	expire  *time.Timer
}

func startWorker(command *exec.Cmd) (*worker, error) {
	w := &worker{command: command, errors: &tail{}}
	command.Stderr = w.errors
	var err error
	if w.in, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.send, w.receive = gob.NewEncoder(w.in), gob.NewDecoder(out)
	return w, command.Start()
}

// end lets the process go. It ends when it has nothing to read any more.
func (w *worker) end() {
	_ = w.in.Close()
	go func() { _ = w.command.Wait() }() // within the time of one job, since nothing is asked of it any more
}

// do has the process do a job, and shows it the files. After an error the process is gone.
func (w *worker) do(files fs.FS, j job) (*outcome, error) {
	var late atomic.Bool
	timer := time.AfterFunc(j.Limits.Time, func() {
		late.Store(true)
		_ = w.command.Process.Kill()
	})
	done, err := w.converse(files, j)
	if timer.Stop(); err == nil && !late.Load() {
		return done, nil
	}
	_ = w.command.Process.Kill()
	_ = w.in.Close()
	_ = w.command.Wait()
	switch {
	case late.Load():
		return nil, fmt.Errorf("it took longer than %s, and was ended: does something in it grow with every step, or name itself?", j.Limits.Time)
	case errors.Is(err, errTooMuch), strings.Contains(w.errors.String(), "out of memory"):
		return nil, fmt.Errorf("it needed more than %d MiB of memory, and was ended: does something in it grow with every step?", j.Limits.Memory>>20)
	}
	return nil, fmt.Errorf("%w: %w: %s", errGone, err, w.errors.String())
}

func (w *worker) converse(files fs.FS, j job) (*outcome, error) {
	if err := w.send.Encode(j); err != nil {
		return nil, err
	}
	var objects []object
	for {
		var message said
		err := w.receive.Decode(&message)
		switch {
		case err != nil:
		case message.TooMuch:
			err = errTooMuch
		case message.Done != nil:
			message.Done.objects = objects
			return message.Done, nil
		case len(message.Objects) > 0:
			objects, err = received(objects, message.Objects)
		case message.Look != nil:
			err = w.send.Encode(answerTo(files, *message.Look))
		default:
			err = errors.New("it says nothing that is known")
		}
		if err != nil {
			return nil, err
		}
	}
}

// tail keeps the beginning of what is written, which says why a process ended.
type tail struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 1024 - t.kept.Len(); room > 0 {
		t.kept.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(t.kept.String()), " ")
}
