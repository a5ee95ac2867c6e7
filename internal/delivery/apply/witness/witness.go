package witness

import (
	"context"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Needs is what a Witness needs. All fields are required.
type Needs struct {
	// Pattern names the files in which the API server writes its audit log, as filepath.Match has it: one, or one for each API server
	// of the cluster. Rotated ones are not to match.
	Pattern string
	// Self says under which name the API server knows the agent. It is asked until it is known.
	Self func(context.Context) (string, error)
	// Manager is under which name the agent owns fields.
	Manager string
	// Holds says whether an object is one that is applied here; for an empty name, whether any of its kind may be.
	Holds func(Place) bool
	Log   *slog.Logger
	// Now is the clock.
	Now func() time.Time
}

const (
	// interval is between two looks at the files, and search between two for files that match.
	interval = 250 * time.Millisecond
	search   = 5 * time.Second
	// settles is how long a question waits at least, so that whoever else could have been it is in the log, and expires how long at most.
	settles, expires = time.Second, 30 * time.Second

	maxFiles     = 16
	maxDeeds     = 2048
	maxQuestions = 512
)

// Witness reads audit logs and answers questions.
type Witness struct {
	needs Needs

	mu        sync.Mutex
	questions []question

	// Of Run alone.
	reader   *reader // nil until it is known who the agent is
	files    map[string]*follower
	deeds    []deed // in the order in which they were read
	searched time.Time
	told     map[string]string // what was said to be wrong, by path, or with the pattern
	omitted  bool
}

type question struct {
	Question
	answer func(Answer)
}

// New returns a Witness that reads nothing before Run.
func New(needs Needs) *Witness {
	return &Witness{needs: needs, files: map[string]*follower{}, told: map[string]string{}}
}

// Ask has answer called, once and soon, when it is known who it was; never, when it cannot be found out. It does not block.
func (w *Witness) Ask(q Question, answer func(Answer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.questions) < maxQuestions {
		w.questions = append(w.questions, question{q, answer})
	}
}

// Run reads and answers until ctx ends. What is wrong with a file is in the log, once, and keeps it from nothing.
func (w *Witness) Run(ctx context.Context) {
	defer func() {
		for _, f := range w.files {
			f.close()
		}
	}()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		w.look(ctx, w.needs.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look reads what has come, and answers what can be.
func (w *Witness) look(ctx context.Context, now time.Time) {
	if since := now.Sub(w.searched); since >= search || since < 0 {
		w.find(w.searched.IsZero())
		w.know(ctx)
		w.searched = now
	}
	if w.reader == nil {
		return
	}
	for path, f := range w.files {
		omitted, err := f.look(w.take)
		if omitted > 0 && !w.omitted {
			w.omitted = true
			w.needs.Log.Warn("the audit log is not read whole, since a line is too long, or more comes than is read: some drifts may have no name", "file", path, "bytes", omitted)
		}
		if w.tell(path, err); err != nil {
			f.close()
			delete(w.files, path) // found again as soon as there is one
		}
	}
	w.deeds = slices.DeleteFunc(w.deeds, func(d deed) bool {
		age := now.Sub(d.received)
		return age > deletionPatience+expires || age < -deletionPatience
	})
	w.answer(now)
}

// find takes up files that match. Of those that are there at first only what is added is read.
func (w *Witness) find(first bool) {
	paths, err := filepath.Glob(w.needs.Pattern)
	if err == nil && len(paths) == 0 {
		err = fs.ErrNotExist
	}
	w.tell(w.needs.Pattern, err)
	for _, path := range paths {
		if w.files[path] != nil || len(w.files) >= maxFiles {
			continue
		}
		f := &follower{path: path}
		open := f.open
		if first {
			open = f.fromEnd
		}
		if err := open(); err != nil {
			w.tell(path, err)
			continue
		}
		w.files[path] = f
	}
}

// know finds out who the agent is.
func (w *Witness) know(ctx context.Context) {
	if w.reader != nil {
		return
	}
	self, err := w.needs.Self(ctx)
	if err != nil {
		w.needs.Log.Info("the audit log is not read yet", "error", err)
		return
	}
	w.reader = newReader(self, w.needs.Manager)
}

// tell says what is wrong with a file, or with all, or that nothing is any more: once.
func (w *Witness) tell(path string, err error) {
	what := ""
	if err != nil {
		what = err.Error()
	}
	if w.told[path] == what {
		return
	}
	if w.told[path] = what; what == "" {
		delete(w.told, path)
		w.needs.Log.Info("the audit log is read again", "file", path)
		return
	}
	w.needs.Log.Warn("the audit log cannot be read: who deletes an object or takes a field away stays without a name until it can be", "file", path, "error", what)
}

// take keeps what a line tells of an object that is applied here.
func (w *Witness) take(line []byte) {
	d, ok := w.reader.read(line)
	if !ok || !w.needs.Holds(d.place) {
		return
	}
	if len(w.deeds) >= maxDeeds {
		w.deeds = slices.Delete(w.deeds, 0, maxDeeds/8) // the oldest
	}
	w.deeds = append(w.deeds, d)
}

// answer answers what can be, and drops what could not be for too long.
func (w *Witness) answer(now time.Time) {
	var answers []func()
	w.mu.Lock()
	w.questions = slices.DeleteFunc(w.questions, func(q question) bool {
		age := now.Sub(q.Noticed)
		if age < settles && age > -expires { // it may have been asked since the look began, for which it is yet to come
			return false
		}
		found, ok := who(q.Question, w.deeds)
		if ok {
			answers = append(answers, func() { q.answer(found) })
		}
		return ok || age < 0 || age > expires
	})
	w.mu.Unlock()
	for _, answer := range answers {
		answer()
	}
}
