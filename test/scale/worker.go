package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/test/scale/fakekube"
)

// news is what happened to an agent or in its member.
type news struct {
	Agent int       `json:"agent"`
	At    time.Time `json:"at"`
	// Session begun or ended.
	Session session `json:"session,omitempty"`
	// ConfigMap that was written, and the value in it; empty when it was deleted.
	ConfigMap string `json:"configMap,omitempty"`
	Value     string `json:"value,omitempty"`
	// Warning of the agent.
	Warning string `json:"warning,omitempty"`
}

type session string

const (
	begun session = "begun"
	ended session = "ended"
)

// crew is the agents of one worker.
type crew struct {
	dir     string
	running sync.WaitGroup

	mu  sync.Mutex
	out *json.Encoder
}

// work runs the agents that the input names, each by its number, until the input ends. They keep their files in dir. What
// happens goes to the output, a news a line.
func work(ctx context.Context, dir string, in io.Reader, out io.Writer) error {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	ctx, end := context.WithCancel(ctx)
	c := &crew{dir: dir, out: json.NewEncoder(out)}
	defer c.running.Wait()
	defer end()
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			return fmt.Errorf("the order %q is not the number of an agent", lines.Text())
		}
		c.running.Go(func() { c.run(ctx, i) })
	}
	return lines.Err()
}

// run runs an agent, with a Kubernetes API of its own.
func (c *crew) run(ctx context.Context, i int) {
	member := fakekube.New(func(w fakekube.Write) { c.written(i, w) })
	dir := agentDir(c.dir, i)
	err := agent.Run(ctx, agent.Options{
		Dir: dir, Bootstrap: filepath.Join(dir, "bootstrap.json"), Config: member.Config(), Log: slog.New(listener{c, i}),
	})
	if ctx.Err() == nil {
		c.tell(news{Agent: i, Session: ended, Warning: fmt.Sprintf("it ended: %v", err)})
	}
}

func (c *crew) tell(n news) {
	n.At = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.out.Encode(n); err != nil {
		os.Exit(1) // nobody listens any more
	}
}

func (c *crew) written(i int, w fakekube.Write) {
	if w.Kind != "ConfigMap" {
		return
	}
	value := ""
	if w.Object != nil {
		data, _ := w.Object.Object["data"].(map[string]any)
		value, _ = data["value"].(string)
	}
	c.tell(news{Agent: i, ConfigMap: w.Name, Value: value})
}

// listener is the log of one agent: the agent tells nobody else whether it is in session.
type listener struct {
	crew *crew
	i    int
}

func (l listener) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l listener) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l listener) WithGroup(string) slog.Handler                    { return l }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	n := news{Agent: l.i}
	switch r.Message {
	case "in session with the hub":
		n.Session = begun
	case "not in session with the hub":
		n.Session = ended
	}
	if r.Level >= slog.LevelWarn {
		n.Warning = r.Message
		r.Attrs(func(attr slog.Attr) bool {
			if attr.Key == "error" {
				n.Warning += ": " + attr.Value.String()
			}
			return true
		})
	}
	if n.Session != "" || n.Warning != "" {
		l.crew.tell(n)
	}
	return nil
}
