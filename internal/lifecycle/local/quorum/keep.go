package quorum

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"
)

// Places are where the members of one control plane are. Everything may be repeated.
type Places interface {
	// Look returns the places, the first one first, and whether the control plane has served before.
	Look() (places []Place, begun bool, err error)
	// Raise starts what is there, as it is.
	Raise(ctx context.Context, number int) error
	// Begin starts a member that has nothing. join are those that it joins, and itself; nobody, for the one that begins.
	Begin(ctx context.Context, number int, join []string) error
	// Forget ends a member and removes its data, and End removes its place as well.
	Forget(ctx context.Context, number int) error
	End(ctx context.Context, number int) error
}

// poll is between two looks at what takes its time; patience is how long etcd may be silent, or a step refused.
const poll, patience = 100 * time.Millisecond, 30 * time.Second

// Keep has a control plane have the members that it is to have, and returns when it does. config is how its etcd is reached. A step
// that is refused is tried again for some time: etcd changes its list only when its members have been connected for seconds.
func Keep(ctx context.Context, places Places, config func() (*tls.Config, error)) error {
	k := &keeper{places: places, config: config}
	var refused step
	var since time.Time
	for {
		seen, err := k.look(ctx)
		if err != nil {
			return err
		}
		st, err := next(seen)
		if err != nil {
			return err
		}
		if st.kind == "" {
			return nil
		}
		err = k.do(ctx, st, seen)
		if err == nil {
			continue
		}
		if st != refused {
			refused, since = st, time.Now()
		}
		if time.Since(since) > patience {
			return fmt.Errorf("member %s: %s: %w", st.place.Name, st.kind, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("member %s: %s: %w", st.place.Name, st.kind, err)
		case <-time.After(poll):
		}
	}
}

type keeper struct {
	places Places
	config func() (*tls.Config, error)
}

// look returns what there is, and gives an etcd whose members run some time to answer.
func (k *keeper) look(ctx context.Context) (Seen, error) {
	var s Seen
	err := k.until(ctx, func(ctx context.Context) (err error) {
		if s.Places, s.Begun, err = k.places.Look(); err != nil {
			return err
		}
		s.Answers, s.Members = false, nil
		if !worthAsking(s) {
			return nil
		}
		config, err := k.config()
		if err != nil {
			return err
		}
		s.Members, err = newEtcd(config, s.Places).list(ctx)
		s.Answers = err == nil
		return err
	})
	return s, err
}

// worthAsking says whether a majority may answer without anything being done first.
func worthAsking(s Seen) bool {
	with, all := 0, true
	for _, p := range s.Places {
		if p.Data && p.Runs {
			with++
		}
		all = all && (p.Runs || !p.Data)
	}
	return with > 0 && all
}

// do does one step, and returns when it has taken.
func (k *keeper) do(ctx context.Context, st step, seen Seen) error {
	n := st.place.Number
	switch st.kind {
	case begin:
		return k.started(ctx, n, k.places.Begin(ctx, n, nil))
	case raise:
		return k.places.Raise(ctx, n)
	case forget:
		return k.places.Forget(ctx, n)
	}
	config, err := k.config()
	if err != nil {
		return err
	}
	list := newEtcd(config, seen.Places)
	switch st.kind {
	case end:
		if err := list.settle(ctx); err != nil {
			return err
		}
		return k.places.End(ctx, n)
	case admit:
		if err := k.places.Forget(ctx, n); err != nil { // what runs there waits, and was told of other members
			return err
		}
		if err := list.add(ctx, st.place.Peer); err != nil {
			return err
		}
		return k.started(ctx, n, k.places.Begin(ctx, n, joining(seen, st.place)))
	case promote:
		return list.promote(ctx, st.id) // refused until it has caught up
	case move:
		return list.move(ctx, st.id, st.place.Peer)
	}
	return list.remove(ctx, st.id)
}

// started returns when a member that was begun has data.
func (k *keeper) started(ctx context.Context, number int, err error) error {
	if err != nil {
		return err
	}
	return k.until(ctx, func(context.Context) error {
		places, _, err := k.places.Look()
		if err != nil {
			return err
		}
		for _, p := range places {
			if p.Number == number && p.Data {
				return nil
			}
		}
		return fmt.Errorf("its etcd has not begun to write")
	})
}

// until tries until it works, or patience is over.
func (k *keeper) until(ctx context.Context, try func(context.Context) error) error {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := try(waiting)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-waiting.Done():
			return err
		}
	}
}
