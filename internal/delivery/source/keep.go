package source

import (
	"context"
	"errors"
	"time"
)

// tidyEvery is how often what was fetched is tidied.
const tidyEvery = time.Minute

// keep tidies what was fetched until the context ends.
func (f *Fetcher) keep(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := f.Tidy(ctx); err != nil && ctx.Err() == nil {
			f.needs.Log.Warn("what was fetched of sources cannot be tidied; it is tried again", "error", err)
		}
	}
}

// Tidy lets the Readers tidy what they fetched, and forgets what no Ref that is used needs. While it is not known which are used
// it does nothing.
func (f *Fetcher) Tidy(ctx context.Context) error {
	used, err := f.needs.Used(ctx)
	if err != nil {
		return err
	}
	now := f.needs.Now()
	f.forget(used, now)
	var errs []error
	for kind, reader := range f.needs.Readers {
		keeper, ok := reader.(Keeper)
		if !ok {
			continue
		}
		var of []Ref
		for _, ref := range used {
			if ref.Kind == kind {
				of = append(of, ref)
			}
		}
		errs = append(errs, keeper.Tidy(ctx, of, now))
	}
	return errors.Join(errs...)
}

// forget drops what is known of Refs that nobody uses.
func (f *Fetcher) forget(used []Ref, now time.Time) {
	needed := make(map[Ref]bool, len(used))
	for _, ref := range used {
		needed[ref] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for ref, state := range f.refs {
		if !needed[ref] && !state.running && !state.wanted && now.Sub(state.head.At) > UnusedStay {
			delete(f.refs, ref)
		}
	}
}
