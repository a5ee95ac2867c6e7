package spread

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/metrics/queue"
)

const (
	// ContentType is what a replica is sent.
	ContentType = "application/vnd.umbel.measured"
	// MaxBody bounds a request.
	MaxBody = 2 * waiting

	// every is how often what was sent is passed on.
	every = time.Second
	// size is how many bytes wait for one replica at most, and waiting how many are in memory until the disk has them; agents wait beyond that.
	size, waiting = 512 << 20, 16 << 20
	// forget is how long a replica is one of the others after it was alive last.
	forget = 24 * time.Hour
)

// Needs are what passing on takes.
type Needs struct {
	// Dir is where what is to be passed on waits.
	Dir string
	// Alive names the other replicas that are.
	Alive func() []string
	// To sends requests to replicas; the host of their URL is a replica's name.
	To  http.RoundTripper
	Now func() time.Time
	Log *slog.Logger
}

// Spread passes on. It is safe for concurrent use.
type Spread struct {
	mu      sync.Mutex
	pending []byte
	room    *sync.Cond // there is less of it
	more    chan struct{}
	over    bool // nobody passes on any more
}

// New returns a Spread. What it is given waits for [Spread.Run].
func New() *Spread {
	s := &Spread{more: make(chan struct{}, 1)}
	s.room = sync.NewCond(&s.mu)
	return s
}

// Put has what a cluster sent be passed on. It keeps nothing of body, and waits for a disk that has not kept up for long, and for no replica.
func (s *Spread) Put(cluster v1alpha1.ClusterName, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.over && len(s.pending) > waiting {
		s.room.Wait()
	}
	if s.over {
		return
	}
	s.pending = appendFrame(s.pending, cluster, body)
	if len(s.pending) > waiting/4 {
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
}

// taken returns what is to be passed on. After the last time nothing is.
func (s *Spread) taken(last bool) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.pending
	s.pending, s.over = nil, last
	s.room.Broadcast()
	return pending
}

// Run passes on until ctx ends.
func (s *Spread) Run(ctx context.Context, n Needs) error {
	others := &others{Needs: n, of: map[string]*other{}}
	if err := others.found(ctx); err != nil {
		return err
	}
	defer others.sending.Wait()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			others.put(s.taken(true))
			return nil
		case <-tick.C:
			others.look(ctx)
		case <-s.more:
		}
		others.put(s.taken(false))
	}
}

// others are the other replicas. One goroutine has them.
type others struct {
	Needs
	of      map[string]*other
	sending sync.WaitGroup
}

type other struct {
	queue *queue.Queue
	stop  context.CancelFunc
	alive time.Time // when it was last
}

// found takes in the replicas for which something waited before.
func (o *others) found(ctx context.Context) error {
	folders, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading what waits for other replicas: %w", err)
	}
	for _, folder := range folders {
		if err := o.add(ctx, folder.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (o *others) add(ctx context.Context, name string) error {
	log := o.Log.With("part", "metrics of other replicas", "to", name)
	q, err := queue.Open(filepath.Join(o.Dir, name), size, log)
	if err != nil {
		return err
	}
	to := queue.To{
		Who: "replica " + name, URL: "https://" + name,
		Header: http.Header{"Content-Type": {ContentType}}, Client: &http.Client{Transport: o.To},
	}
	ctx, stop := context.WithCancel(ctx)
	o.of[name] = &other{q, stop, o.Now()}
	o.sending.Go(func() { _ = q.SendTo(ctx, to) }) // it ends with ctx, and never with an error
	return nil
}

// look takes in who is alive, and forgets who has not been for long.
func (o *others) look(ctx context.Context) {
	now := o.Now()
	for _, name := range o.Alive() {
		if at := o.of[name]; at != nil {
			at.alive = now
		} else if err := o.add(ctx, name); err != nil {
			o.Log.Error("what agents send is not passed on to a replica", "replica", name, "error", err)
		}
	}
	for name, at := range o.of {
		if now.Sub(at.alive) < forget {
			continue
		}
		at.stop()
		delete(o.of, name)
		if err := os.RemoveAll(filepath.Join(o.Dir, name)); err != nil {
			o.Log.Error("what waits for a replica that is no more is still there", "replica", name, "error", err)
		}
	}
}

// put has a request wait for each.
func (o *others) put(body []byte) {
	if len(body) == 0 {
		return
	}
	for name, at := range o.of {
		if err := at.queue.Put(body); err != nil {
			o.Log.Error("what agents sent is not passed on to a replica", "replica", name, "error", err)
		}
	}
}
