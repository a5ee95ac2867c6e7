//go:build e2e

package net

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// order is what a test wants of a process, a line of JSON; answer is what it gets.
type order struct {
	Do string `json:"do"`
	// To hold, for a hub: the cluster, a value for its ConfigMap, and how many bytes of noise come with it.
	Cluster string `json:"cluster,omitempty"`
	Value   string `json:"value,omitempty"`
	Noise   int    `json:"noise,omitempty"`
}

type answer struct {
	Error string `json:"error,omitempty"`
	Usage usage  `json:"usage"`
	// Address that a hub listens on, and the bundle of its CAs.
	Address string `json:"address,omitempty"`
	CA      string `json:"ca,omitempty"`
	// Heap is where most of what is in use was made.
	Heap string `json:"heap,omitempty"`
	// Done is how often a rogue did what it does.
	Done int64 `json:"done,omitempty"`
}

// usage is what a process holds.
type usage struct {
	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"` // bytes that are in use after a garbage collection
	Files      int    `json:"files"`
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %.1f MB heap, %d files", u.Goroutines, float64(u.Heap)/1e6, u.Files)
}

// actor is what a process runs.
type actor interface {
	act(order) (answer, error)
	stop() error
}

// serve is the main of a process: it obeys until its input ends.
func serve(begin func() (actor, error)) int {
	a, err := begin()
	out := json.NewEncoder(os.Stdout)
	if err != nil {
		out.Encode(answer{Error: err.Error()})
		return 1
	}
	in := json.NewDecoder(os.Stdin)
	for {
		var o order
		if err := in.Decode(&o); err != nil {
			break
		}
		var got answer
		switch o.Do {
		case "use":
			got.Usage, err = used()
		case "heap":
			got.Heap = heaviest()
		case "stacks":
			stacks := make([]byte, 8<<20)
			fmt.Fprintf(os.Stderr, "stacks:\n%s\n", stacks[:runtime.Stack(stacks, true)])
		default:
			got, err = a.act(o)
		}
		if err != nil {
			got.Error = err.Error()
		}
		out.Encode(got)
	}
	if err := a.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "ended:", err)
		return 1
	}
	return 0
}

func used() (usage, error) {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	files, err := os.ReadDir("/proc/self/fd")
	return usage{Goroutines: runtime.NumGoroutine(), Heap: memory.HeapAlloc, Files: len(files)}, err
}

// heaviest says where most of what is in use was made.
func heaviest() string {
	records := make([]runtime.MemProfileRecord, 20_000)
	n, _ := runtime.MemProfile(records, false)
	records = records[:min(n, len(records))]
	slices.SortFunc(records, func(a, b runtime.MemProfileRecord) int { return int(b.InUseBytes() - a.InUseBytes()) })
	var text strings.Builder
	for _, r := range records[:min(len(records), 12)] {
		fmt.Fprintf(&text, "%d bytes in %d:", r.InUseBytes(), r.InUseObjects())
		frames := runtime.CallersFrames(r.Stack())
		for range 10 {
			frame, more := frames.Next()
			fmt.Fprintf(&text, " %s", frame.Function)
			if !more {
				break
			}
		}
		text.WriteString("\n")
	}
	return text.String()
}

// process is a process of this binary in another role.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  string
	in   io.WriteCloser
	mu   sync.Mutex
	send *json.Encoder
	hear *json.Decoder
	over bool // a test has ended it
}

// start starts a process and ends it with the test. Its log is a file that a failed test shows the end of.
func start(t *testing.T, role string, attr *syscall.SysProcAttr, env ...string) *process {
	t.Helper()
	p := &process{t: t, log: filepath.Join(t.TempDir(), role+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command("/proc/self/exe")
	p.cmd.Env = append(append(os.Environ(), roleEnv+"="+role), env...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = attr
	p.in, err = p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting the %s: %v; it needs root on Linux", role, err)
	}
	p.send, p.hear = json.NewEncoder(p.in), json.NewDecoder(bufio.NewReader(out))
	t.Cleanup(func() {
		if p.over {
			return
		}
		if t.Failed() {
			t.Logf("the end of the log of the %s:\n%s", role, strings.Join(p.tail(40), "\n"))
		}
		if err := p.end(); err != nil {
			t.Errorf("the %s ended: %v\n%s", role, err, strings.Join(p.tail(200), "\n"))
		}
	})
	return p
}

func (p *process) end() error {
	p.in.Close()
	late := time.AfterFunc(time.Minute, func() { p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	return p.cmd.Wait()
}

// kill ends the process in the middle of whatever it does.
func (p *process) kill() {
	p.over = true
	p.in.Close()
	p.cmd.Process.Kill()
	p.cmd.Wait() // which says that it was killed
}

// stop ends the process as its init would.
func (p *process) stop() {
	p.t.Helper()
	p.over = true
	if err := p.end(); err != nil {
		p.t.Fatalf("a process that was to stop ended: %v\n%s", err, strings.Join(p.tail(200), "\n"))
	}
}

// tell gives an order and returns the answer.
func (p *process) tell(o order) answer {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	var got answer
	if err := errors.Join(p.send.Encode(o), p.hear.Decode(&got)); err != nil {
		p.t.Fatalf("%s: %v\n%s", o.Do, err, strings.Join(p.tail(40), "\n"))
	}
	if got.Error != "" {
		p.t.Fatalf("%s: %s", o.Do, got.Error)
	}
	return got
}

// says counts the lines of the log that hold all of the words.
func (p *process) says(words ...string) int {
	p.t.Helper()
	raw, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(raw)) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			count++
		}
	}
	return count
}

func (p *process) tail(n int) []string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return lines[max(0, len(lines)-n):]
}
