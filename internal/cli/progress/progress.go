// Package progress shows people what takes long: a line per step with its time when it ends, and, on a terminal, the
// steps that are under way, each with its own clock. Steps may run side by side.
package progress

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"umbel.dev/umbel/internal/cli/output"
)

// refresh is how often the view of a terminal is drawn.
const refresh = 100 * time.Millisecond

// View shows steps. Its methods may be called concurrently.
type View struct {
	out  io.Writer
	live bool
	now  func() time.Time

	mu     sync.Mutex
	steps  []*Step // under way, in the order of their start
	drawn  int     // lines of the live part
	ticker *time.Ticker
	done   chan struct{}
	closed sync.Once
	wg     sync.WaitGroup
}

// Step is one step under way.
type Step struct {
	view  *View
	name  string
	note  string
	start time.Time
}

// On returns a view on the error stream of a command, live where somebody watches.
func On(streams output.Streams, now func() time.Time) *View {
	return New(streams.Err, Liveness(output.Animated(streams.Err)), now)
}

// New returns a view that writes to out; live says that out is a terminal whose lines can be drawn again.
func New(out io.Writer, live Liveness, now func() time.Time) *View {
	v := &View{out: out, live: bool(live), now: now, done: make(chan struct{})}
	if v.live {
		v.ticker = time.NewTicker(refresh)
		v.wg.Go(v.animate)
	}
	return v
}

// Liveness says whether the output is a terminal.
type Liveness bool

// The two kinds of output.
const (
	Lines Liveness = false // a line when a step ends
	Live  Liveness = true  // and a view of the steps under way
)

func (v *View) animate() {
	for {
		select {
		case <-v.ticker.C:
			v.mu.Lock()
			v.draw("")
			v.mu.Unlock()
		case <-v.done:
			return
		}
	}
}

// Close ends the view. Steps under way are not shown any more. It may be called more than once.
func (v *View) Close() { v.closed.Do(v.close) }

func (v *View) close() {
	if v.live {
		v.ticker.Stop()
		close(v.done)
		v.wg.Wait()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.steps = nil
	v.draw("")
}

// Start begins a step.
func (v *View) Start(name string) *Step {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &Step{view: v, name: name, start: v.now()}
	v.steps = append(v.steps, s)
	v.draw("")
	return s
}

// Note tells what the step is at. Only a terminal shows it.
func (s *Step) Note(format string, args ...any) {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.note = fmt.Sprintf(format, args...)
}

// End ends the step and prints its line. It returns err as it is, so that a caller can end and return in one line.
func (s *Step) End(err error) error {
	v := s.view
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, other := range v.steps {
		if other == s {
			v.steps = append(v.steps[:i], v.steps[i+1:]...)
			break
		}
	}
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	v.draw(fmt.Sprintf("%s %-52s %6.1fs\n", mark, s.name, v.now().Sub(s.start).Seconds()))
	return err
}

// Say prints a line at once, above the steps that are under way.
func (v *View) Say(line string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.draw(line + "\n")
}

// Run does f as a step.
func (v *View) Run(name string, f func(*Step) error) error {
	s := v.Start(name)
	return s.End(f(s))
}

// draw prints finished lines above the live part and draws that anew; the caller holds mu.
func (v *View) draw(finished string) {
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", v.drawn) // up to the first live line, and clear from there
		v.drawn = 0
	}
	b.WriteString(finished)
	if v.live {
		frame := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")[v.now().UnixMilli()/100%10]
		for _, s := range v.steps {
			line := s.name
			if s.note != "" {
				line += ": " + s.note
			}
			fmt.Fprintf(&b, "%c %-52s %6.1fs\n", frame, clip(line, 52), v.now().Sub(s.start).Seconds())
			v.drawn++
		}
	}
	_, _ = io.WriteString(v.out, b.String()) // a terminal that is gone has nobody to tell
}

func clip(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}
