package quorum

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"
)

// attention is how long the others may take to say that they are ready.
const attention = 10 * time.Second

// Renewal are places whose members may run another build than they are to.
type Renewal interface {
	Places
	// Outdated says whether a member does.
	Outdated(ctx context.Context, number int) (bool, error)
	// Halt ends a member in order. Its data stay.
	Halt(ctx context.Context, number int) error
	// Ready returns when the API server of a member is, which asks its own etcd.
	Ready(ctx context.Context, number int) error
}

// Renew has members that are outdated start anew, with their data, one after another, and none before all others are ready: with one
// of them ill, the end of another would be that of the majority. One that is ill itself has its turn all the same.
func Renew(ctx context.Context, places Renewal, config func() (*tls.Config, error)) error {
	all, _, err := places.Look()
	if err != nil {
		return err
	}
	var waits []error
	for _, p := range all {
		if !p.Wanted {
			continue
		}
		old, err := places.Outdated(ctx, p.Number)
		if err != nil {
			return fmt.Errorf("member %s: %w", p.Name, err)
		}
		if !old {
			continue
		}
		if ill := others(ctx, places, all, p); ill != nil {
			waits = append(waits, fmt.Errorf("member %s does not start anew while another one is not ready: %w", p.Name, ill))
			continue
		}
		if err := anew(ctx, places, p, config); err != nil {
			return fmt.Errorf("member %s, which started anew: %w", p.Name, err)
		}
	}
	return errors.Join(waits...)
}

// others returns when all members but one are ready, or says which one is not.
func others(ctx context.Context, places Renewal, all []Place, but Place) error {
	waiting, cancel := context.WithTimeout(ctx, attention)
	defer cancel()
	for _, p := range all {
		if !p.Wanted || p.Number == but.Number {
			continue
		}
		if err := places.Ready(waiting, p.Number); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// anew ends a member, starts it, and returns when it is ready.
func anew(ctx context.Context, places Renewal, p Place, config func() (*tls.Config, error)) error {
	if err := places.Halt(ctx, p.Number); err != nil {
		return err
	}
	if err := Keep(ctx, places, config); err != nil {
		return err
	}
	return places.Ready(ctx, p.Number)
}
