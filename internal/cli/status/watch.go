package status

import (
	"context"
	"fmt"
	"time"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/health"
)

// lookEvery is how often it is looked again.
const lookEvery = 3 * time.Second

// identity is what makes a finding the one that was there before.
type identity struct{ object, reason string }

// changes are the findings that came or are told of otherwise than before, and those that are over; each in the order of its list.
func changes(before, now []health.Finding) (came, over []health.Finding) {
	was, is := map[identity]health.Finding{}, map[identity]bool{}
	for _, f := range before {
		was[identity{f.Object(), f.Reason}] = f
	}
	for _, f := range now {
		key := identity{f.Object(), f.Reason}
		is[key] = true
		if old, there := was[key]; !there || old.Level != f.Level || old.Message != f.Message {
			came = append(came, f)
		}
	}
	for _, f := range before {
		if !is[identity{f.Object(), f.Reason}] {
			over = append(over, f)
		}
	}
	return came, over
}

// follow writes a line for each finding that comes, changes or is over, until ctx ends. What cannot be read meanwhile is said once.
func (o *Options) follow(ctx context.Context, hub *client.Hub, before []health.Finding) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	trouble := ""
	for {
		select {
		case <-ctx.Done():
			return nil // whoever watches ends it, which is no failure
		case <-tick.C:
		}
		said, err := o.look(ctx, hub)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if err.Error() != trouble {
				o.Note("it is looked again: %v", err)
			}
			trouble = err.Error()
			continue
		}
		trouble = ""
		if err := o.tell(before, said.Findings); err != nil {
			return err
		}
		before = said.Findings
	}
}

func (o *Options) tell(before, now []health.Finding) error {
	palette, at := o.Palette(o.Out), o.Now().Format(time.TimeOnly)
	came, over := changes(before, now)
	for _, f := range over {
		if _, err := fmt.Fprintf(o.Out, "%s  %s %s: %s\n", at, palette.Paint(output.Good, fmt.Sprintf("%-9s", "over")), f.Object(), f.Reason); err != nil {
			return err
		}
	}
	for _, f := range came {
		if _, err := fmt.Fprintf(o.Out, "%s  %s %s: %s\n", at, palette.Paint(tones[f.Level], fmt.Sprintf("%-9s", f.Level)), f.Object(), f.Message); err != nil {
			return err
		}
	}
	return nil
}
