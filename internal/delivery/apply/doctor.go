package apply

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"

	"umbel.dev/umbel/internal/delivery/apply/diagnose"
	"umbel.dev/umbel/internal/delivery/apply/member"
)

const (
	// doctorPatience is how long an object may be on its way before somebody looks why it does not arrive.
	doctorPatience = 10 * time.Second
	// doctorPace is the pause between two looks, of whatever object: a cluster in which everything is ill is not to be read
	// to death.
	doctorPace = 500 * time.Millisecond
	// doctorLongest is the longest pause between two looks at the same object.
	doctorLongest = 5 * time.Minute
)

// doctor finds out why objects do not become healthy. It reads on demand, only of those that have been ill for a while, one
// at a time, and less often the longer it lasts.
type doctor struct {
	log      *slog.Logger
	patience time.Duration // doctorPatience, but in tests
	told     func(*unit)
	queue    workqueue.TypedDelayingInterface[*record]

	mu    sync.Mutex
	looks map[*record]int // of those that are ill
}

func newDoctor(log *slog.Logger, told func(*unit)) *doctor {
	return &doctor{
		log: log, patience: doctorPatience, told: told,
		queue: workqueue.NewTypedDelayingQueue[*record](), looks: map[*record]int{},
	}
}

// ailing has an object looked at, unless it recovers in time.
func (d *doctor) ailing(r *record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, known := d.looks[r]; known {
		return
	}
	d.looks[r] = 0
	d.queue.AddAfter(r, d.patience)
}

// run looks at what is ill until ctx ends.
func (d *doctor) run(ctx context.Context) {
	go func() { <-ctx.Done(); d.queue.ShutDown() }()
	for {
		r, shutdown := d.queue.Get()
		if shutdown {
			return
		}
		again := d.look(ctx, r)
		d.queue.Done(r)
		if again > 0 {
			d.queue.AddAfter(r, again)
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(doctorPace, d.patience)):
		}
	}
}

// look finds out what ails an object, and says when to look again; 0 is never.
func (d *doctor) look(ctx context.Context, r *record) (again time.Duration) {
	health, gvr, ill := r.ill()
	d.mu.Lock()
	if !ill {
		delete(d.looks, r)
		d.mu.Unlock()
		return 0
	}
	d.looks[r]++
	again = min(d.patience<<min(d.looks[r], 16), doctorLongest)
	d.mu.Unlock()
	why := health.Message
	if diagnose.Knows(schema.GroupKind{Group: r.key.Group, Kind: r.key.Kind}) && r.key.Namespace != "" {
		found, err := r.unit().diagnose(ctx, gvr, r.key)
		if err != nil {
			d.log.Debug("it could not be found out why an object is not healthy", "object", r.key.String(), "error", err)
		}
		if found != "" {
			why = found
		}
	}
	if r.diagnosed(why) {
		d.told(r.unit())
	}
	return again
}

// ill says whether an object that should be there is not healthy, and what it says of itself.
func (r *record) ill() (h member.Health, gvr schema.GroupVersionResource, ill bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health, r.gvr, r.content != nil && r.health.State != "" && !r.health.OK()
}

// diagnosed takes in why an object is not healthy, and says whether that is news.
func (r *record) diagnosed(why string) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.health.OK() || r.why == why {
		return false
	}
	r.why = why
	return true
}
