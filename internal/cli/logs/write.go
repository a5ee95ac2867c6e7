package logs

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/fleet"
	"umbel.dev/umbel/internal/cli/output"
)

// writer writes lines, one after the other.
type writer struct {
	out      io.Writer
	json     bool
	times    bool
	terminal bool
	coloured bool
	index    map[v1alpha1.ClusterName]int

	mu sync.Mutex
}

func newWriter(o *Options, members []fleet.Member) *writer {
	w := &writer{
		out: o.Out, json: o.Format == output.JSON, times: o.Times, terminal: output.Terminal(o.Out), coloured: o.Palette(o.Out) == output.Coloured,
		index: map[v1alpha1.ClusterName]int{},
	}
	for i := range members {
		w.index[members[i].Cluster] = i
	}
	return w
}

// record is a line as programs read it.
type record struct {
	Cluster   v1alpha1.ClusterName `json:"cluster"`
	Namespace string               `json:"namespace"`
	Pod       string               `json:"pod"`
	Container string               `json:"container"`
	Time      string               `json:"time,omitempty"`
	Line      string               `json:"line"`
}

func (w *writer) write(l *line) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	stamp := ""
	if !l.at.IsZero() {
		stamp = l.at.UTC().Format(time.RFC3339Nano)
	}
	if w.json {
		raw, err := json.Marshal(record{l.of.cluster, l.of.namespace, l.of.pod, l.of.name, stamp, l.text})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w.out, "%s\n", raw)
		return err
	}
	prefix, text := l.of.prefix(), l.text
	if w.coloured {
		prefix = paint(w.index[l.of.cluster], prefix)
	}
	if w.terminal {
		text = tame(text)
	}
	if w.times && stamp != "" {
		prefix += " " + stamp
	}
	_, err := fmt.Fprintf(w.out, "%s %s\n", prefix, text)
	return err
}
