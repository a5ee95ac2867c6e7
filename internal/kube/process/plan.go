package process

import (
	"fmt"
	"slices"
	"time"
)

const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 10 * time.Second
	settled    = 30 * time.Second // a life this long forgets earlier failures
)

// nextDelay returns how long to wait before starting again a process that lived for uptime, where previous is what
// was waited before that life, zero for its first.
func nextDelay(previous, uptime time.Duration) time.Duration {
	if previous == 0 || uptime >= settled {
		return firstDelay
	}
	return min(2*previous, lastDelay)
}

// validate reports a list that cannot be run: a name twice or missing, or an After that names none before it.
func validate(processes []Process) error {
	var names []string
	for i, p := range processes {
		if p.Name == "" || p.Path == "" {
			return fmt.Errorf("process %d (%q): name and path are required", i, p.Name)
		}
		if slices.Contains(names, p.Name) {
			return fmt.Errorf("process %q is listed twice", p.Name)
		}
		for _, after := range p.After {
			if !slices.Contains(names, after) {
				return fmt.Errorf("process %q starts after %q, which is not listed before it", p.Name, after)
			}
		}
		names = append(names, p.Name)
	}
	return nil
}
