package delivery

import (
	"context"
	"sync"

	"umbel.dev/umbel/api/v1alpha1"
)

// atOnce is how many Packages are rendered at a time.
const atOnce = 4

// renderings run in the background, from Start on: one that takes long holds up no pass over another Package. Nothing of them is
// kept: after a crash, or on another replica, the next pass over a Package finds that it has to be rendered.
type renderings struct {
	room  int
	wake  chan struct{}
	ended func(v1alpha1.PackageKey) // asks for a pass over the Package

	mu      sync.Mutex
	due     map[v1alpha1.PackageKey]func(context.Context)
	running map[v1alpha1.PackageKey]bool // those that are due as well
	called  map[v1alpha1.PackageKey]bool // a place is kept for them, and a pass was asked for that takes it
	queue   []v1alpha1.PackageKey        // in their order, until they are called
	queued  map[v1alpha1.PackageKey]bool
}

func newRenderings(room int, ended func(v1alpha1.PackageKey)) *renderings {
	return &renderings{
		room: room, wake: make(chan struct{}, 1), ended: ended, due: map[v1alpha1.PackageKey]func(context.Context){},
		running: map[v1alpha1.PackageKey]bool{}, called: map[v1alpha1.PackageKey]bool{}, queued: map[v1alpha1.PackageKey]bool{},
	}
}

// begin has a Package rendered, if there is room, and says whether it is. When it has been, or when there is room, a pass is asked
// for. It may be repeated.
func (r *renderings) begin(key v1alpha1.PackageKey, work func(context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.running[key]:
		return false
	case r.called[key]:
		delete(r.called, key)
	case len(r.running)+len(r.called) >= r.room:
		if !r.queued[key] {
			r.queued[key] = true
			r.queue = append(r.queue, key)
		}
		return false
	}
	r.running[key], r.due[key] = true, work
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return true
}

// under says whether a Package is being rendered.
func (r *renderings) under(key v1alpha1.PackageKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running[key]
}

// pass gives the place that is kept for a Package to the next one: it has nothing to be rendered now.
func (r *renderings) pass(key v1alpha1.PackageKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.called[key] {
		delete(r.called, key)
		r.call()
	}
}

// call calls those that wait, as many as there is room for. The caller holds mu.
func (r *renderings) call() {
	for len(r.queue) > 0 && len(r.running)+len(r.called) < r.room {
		key := r.queue[0]
		r.queue = r.queue[1:]
		delete(r.queued, key)
		r.called[key] = true
		r.ended(key)
	}
}

// Start renders what is due until the context ends, then waits for what is under way.
func (r *renderings) Start(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	for {
		for key, work := range r.take() {
			working.Go(func() {
				work(ctx)
				r.end(key)
			})
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *renderings) take() map[v1alpha1.PackageKey]func(context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	due := r.due
	r.due = map[v1alpha1.PackageKey]func(context.Context){}
	return due
}

func (r *renderings) end(key v1alpha1.PackageKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.running, key)
	r.call()
	r.ended(key)
}
