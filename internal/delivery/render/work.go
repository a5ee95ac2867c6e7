package render

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// errAlone says that whoever gave a job is gone.
var errAlone = errors.New("nobody waits for what is being rendered")

// Work is the life of a worker: it renders what it reads jobs for from in, looks at files by asking for them on out, and
// returns when in ends, in the middle of a job too: then the process is to end. With its first job it gives up
// all that rendering needs nothing of (confine), so a process that works does nothing else any more. When a job needs more memory than
// it may have, it says so, and whoever gave it the job ends the process: what is at work cannot be stopped otherwise.
func Work(in io.Reader, out io.Writer) error {
	w := &working{out: gob.NewEncoder(out)}
	attended, gone := attend(in)
	receive := gob.NewDecoder(attended)
	for confined := false; ; confined = true {
		var j job
		if err := receive.Decode(&j); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("reading what is to be rendered: %w", err)
		}
		if !confined {
			if err := confine(hardLimit * j.Limits.Memory); err != nil {
				return err
			}
		}
		stop := w.watchMemory(j.Limits.Memory)
		ended := make(chan *outcome, 1)
		go func() { // nobody can stop it but the end of the process
			ended <- w.do(&remoteFiles{ask: func(a asked) (answer, error) {
				var got answer
				if err := w.say(said{Look: &a}); err != nil {
					return got, err
				}
				return got, receive.Decode(&got)
			}}, j)
		}()
		var done *outcome
		select {
		case done = <-ended:
		case <-gone:
			return errAlone
		}
		stop()
		if err := w.say(said{Done: done}); err != nil {
			return fmt.Errorf("handing over what was rendered: %w", err)
		}
		debug.FreeOSMemory()
	}
}

type working struct {
	mu  sync.Mutex
	out *gob.Encoder
}

// attend reads on while a job is under way, to notice that nobody waits for it any more: then gone is closed.
func attend(in io.Reader) (attended io.Reader, gone <-chan struct{}) {
	r, pipe := io.Pipe()
	end := make(chan struct{})
	go func() { // ends with the process
		_, err := io.Copy(pipe, in)
		pipe.CloseWithError(err) // nil is the end
		close(end)
	}()
	return r, end
}

func (w *working) say(message said) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Encode(message)
}

func (w *working) do(files *remoteFiles, j job) *outcome {
	var found charted
	var err error
	if j.Chart != nil {
		found, err = readChart(files, j.Folder, *j.Chart)
	} else {
		found.objects, err = read(files, j.Folder, j.Add)
	}
	if files.lost != nil {
		err = files.lost
	}
	if err != nil {
		return &outcome{Err: err.Error()}
	}
	if err := w.send(found.objects, j.Limits.Output); err != nil {
		return &outcome{Err: err.Error()}
	}
	return &outcome{LeftOut: found.left}
}

// sendAt is how many bytes of objects are sent at once: whoever reads them holds as much of them twice, and no more.
const sendAt = 256 << 10

// send sends objects of so many bytes at most, and lets go of them.
func (w *working) send(objects []object, limit int64) error {
	var batch []sentObject
	bytes, left := 0, limit
	for i, o := range objects {
		raw, err := json.Marshal(o.fields)
		if err != nil {
			return fmt.Errorf("%s: %w", o.place, err)
		}
		if left -= int64(len(raw)); left < 0 {
			return fmt.Errorf("%s: %s: with it there are more than %d MiB of objects, which is more than a Package may have: make several of it",
				o.place, identify(o.fields), limit>>20)
		}
		objects[i].fields = nil
		batch = append(batch, sentObject{File: o.place.file, Document: o.place.document, Line: o.place.line, Fields: raw})
		if bytes += len(raw); bytes < sendAt && i < len(objects)-1 {
			continue
		}
		if err := w.say(said{Objects: batch}); err != nil {
			return fmt.Errorf("handing over what was rendered: %w", err)
		}
		batch, bytes = nil, 0
	}
	return nil
}

// watchMemory says when the process has more than that, until stop is called.
func (w *working) watchMemory(limit int64) (stop func()) {
	before := debug.SetMemoryLimit(limit - limit/8) // from there on memory is looked after, before it is too much
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				if memory() > limit {
					_ = w.say(said{TooMuch: true}) // nobody listens: then the process ends as well
					return
				}
			}
		}
	})
	return func() {
		close(over)
		watching.Wait()
		debug.SetMemoryLimit(before)
	}
}

// memory is what the process has of the system's.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
