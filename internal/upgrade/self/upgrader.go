package self

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// ErrChanged: somebody else changed the record meanwhile. It is to be read again.
var ErrChanged = errors.New("the record of the upgrade was changed meanwhile")

// ErrHandOver ends an agent that runs as a process: who started it goes on with another program (see Launcher).
var ErrHandOver = errors.New("the agent hands over to another program")

// How long a new program has to prove itself: a pod may have to pull its image on another node.
const (
	PodPatience     = 2 * time.Minute
	ProcessPatience = 30 * time.Second
)

// How often, and at what distance, an agent tries to write down how far an upgrade is before it gives up: nothing is begun
// that is not written down.
const (
	tryAgain = 10 * time.Second
	maxTries = 12
)

// Host is where an agent runs, and by what means it can become another one there. Pod and Process implement it.
type Host interface {
	// Load returns the record, the zero one when there is none. It blocks no longer than its context.
	Load(ctx context.Context) (Record, error)
	// Save keeps next in the place of last. The error is ErrChanged when last is not what is kept any more.
	Save(ctx context.Context, last, next Record) error
	// Image is where the agent's program is from; empty for a process.
	Image(ctx context.Context) (string, error)
	// Rehearse fetches the program of a record and tries it beside the agent. It is idempotent, and blocks for minutes at
	// most. The error says what went wrong, for people.
	Rehearse(ctx context.Context, record Record) error
	// Arm makes a guard that switches to the program of a record, which is Armed. It is idempotent. Once it returned nil the
	// guard has the next word. ErrHandOver asks the agent to end.
	Arm(ctx context.Context, record Record) error
}

// Config is what an Upgrader needs.
type Config struct {
	Host Host
	// Build is the program that runs.
	Build string
	// Patience is how long a new program has to prove itself.
	Patience time.Duration
	Now      func() time.Time
	Log      *slog.Logger
}

// Upgrader carries out what the hub says of the agent's program. It implements session.Upgrades.
type Upgrader struct {
	Config

	orders chan *wire.Upgrade // has room for one, the latest
	news   chan struct{}      // has room for one
	proved chan struct{}      // closed when the agent is in session and its API server answers
	prove  func()

	mu    sync.Mutex
	image string
	state *wire.UpgradeState
}

var _ session.Upgrades = (*Upgrader)(nil)

// New returns an Upgrader. Run makes it work.
func New(config Config) *Upgrader {
	u := &Upgrader{
		Config: config, orders: make(chan *wire.Upgrade, 1), news: make(chan struct{}, 1), proved: make(chan struct{}),
	}
	u.prove = sync.OnceFunc(func() { close(u.proved) })
	return u
}

// Prove tells that the agent is in session, and that its API server answers.
func (u *Upgrader) Prove() { u.prove() }

// Introduce implements session.Upgrades.
func (u *Upgrader) Introduce(hello *wire.Hello) {
	u.mu.Lock()
	defer u.mu.Unlock()
	hello.Build, hello.Image, hello.Upgrade = u.Build, u.image, u.state
}

// Order implements session.Upgrades.
func (u *Upgrader) Order(order *wire.Upgrade) {
	for {
		select {
		case u.orders <- order:
			return
		default:
		}
		select {
		case <-u.orders: // the latest counts
		default:
		}
	}
}

// Changed implements session.Upgrades.
func (u *Upgrader) Changed() <-chan struct{} { return u.news }

// State implements session.Upgrades.
func (u *Upgrader) State() *wire.UpgradeState {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

func (u *Upgrader) tell(record Record) {
	u.mu.Lock()
	u.state = record.state()
	u.mu.Unlock()
	select {
	case u.news <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, when it returns nil, or until the agent is to end: ErrHandOver. What goes wrong otherwise is
// logged, and shows in the state.
func (u *Upgrader) Run(ctx context.Context) error {
	look := time.NewTicker(tryAgain)
	defer look.Stop()
	proved := u.proved
	var waiting *wire.Upgrade
	tries := 0
	u.begin(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-proved:
			if u.done(ctx) {
				proved = nil
			}
		case waiting = <-u.orders:
			tries = 0
		case <-look.C:
			u.clear(ctx)
		}
		if waiting == nil {
			continue
		}
		settled, err := u.carryOut(ctx, waiting)
		if errors.Is(err, ErrHandOver) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !settled {
			tries++
			settled = u.stumble(waiting, tries, err)
		}
		if settled {
			waiting = nil
		}
	}
}

// stumble tells that an order could not be begun, and says whether that is the end of it. What cannot be written down is told
// all the same: the hub must not wait for it, nor be left without the reason.
func (u *Upgrader) stumble(order *wire.Upgrade, tries int, err error) (settled bool) {
	said := Record{Build: order.GetBuild(), Attempt: order.GetAttempt(), Phase: Rehearsing, Message: "nothing has begun, it is tried again: " + err.Error()}
	if settled = tries >= maxTries; settled {
		said.Phase, said.Message = Failed, fmt.Sprintf("nothing was changed, after %d tries: %v", tries, err)
	}
	u.Log.Warn("an upgrade of the agent did not begin", "build", order.GetBuild(), "tries", tries, "givenUp", settled, "error", err)
	u.tell(said)
	return settled
}

// begin finds out what an earlier life of the agent left.
func (u *Upgrader) begin(ctx context.Context) {
	image, err := u.Host.Image(ctx)
	if err != nil {
		u.Log.Warn("the agent's image is not known", "error", err)
	}
	u.mu.Lock()
	u.image = image
	u.mu.Unlock()
	record, err := u.Host.Load(ctx)
	if err != nil {
		u.Log.Warn("the record of the last upgrade cannot be read", "error", err)
		return
	}
	u.tell(record)
}

// done writes down that the new program has proved itself, if that is what this agent is.
func (u *Upgrader) done(ctx context.Context) (settled bool) {
	record, err := u.Host.Load(ctx)
	if err == nil && v1alpha1.SameProgram(record.Build, u.Build) && record.underWay() {
		next := record
		next.Phase, next.Message = Done, ""
		if err = u.Host.Save(ctx, record, next); err == nil {
			u.Log.Info("the agent was upgraded", "from", record.From, "to", record.Build)
			u.tell(next)
		}
	}
	if err != nil && ctx.Err() == nil {
		u.Log.Warn("that the new agent is well was not written down: trying again", "error", err)
	}
	return err == nil
}

// clear ends an upgrade that nobody looks after any more.
func (u *Upgrader) clear(ctx context.Context) {
	record, err := u.Host.Load(ctx)
	if err != nil || !lost(record, u.Build, u.Now()) {
		return
	}
	next := record
	next.Phase, next.Message = Failed, "its guard did not begin, or ended early; this agent is still in its place"
	if err := u.Host.Save(ctx, record, next); err != nil {
		return // somebody has the word after all
	}
	u.tell(next)
}

// carryOut carries an order out as far as this agent can. settled says that there is nothing left to do about it.
func (u *Upgrader) carryOut(ctx context.Context, order *wire.Upgrade) (settled bool, err error) {
	record, err := u.Host.Load(ctx)
	if err != nil {
		return false, err
	}
	switch weigh(order, record, u.Build) {
	case nothing:
		u.tell(record)
		return record.is(order), nil
	case arrived:
		if record.underWay() && v1alpha1.SameProgram(record.Build, u.Build) {
			u.tell(record) // it proves itself first
			return true, nil
		}
		u.tell(Record{Build: order.GetBuild(), Attempt: order.GetAttempt(), Phase: Done})
		return true, nil
	}
	return u.upgrade(ctx, order, record)
}

// upgrade rehearses a program, and arms a guard for it.
func (u *Upgrader) upgrade(ctx context.Context, order *wire.Upgrade, last Record) (settled bool, err error) {
	image, err := u.Host.Image(ctx)
	if err != nil {
		return false, err
	}
	next := Record{
		Build: order.GetBuild(), Image: order.GetImage(), Attempt: order.GetAttempt(), Phase: Rehearsing,
		From: u.Build, FromImage: image, Installed: u.Build,
		Message: "the new agent is fetched and tried beside this one",
	}
	if v1alpha1.SameProgram(last.From, u.Build) || v1alpha1.SameProgram(last.Build, u.Build) {
		next.Installed = last.Installed // this one was put in its place by an upgrade
	}
	if err := u.save(ctx, &last, next); err != nil {
		return false, err
	}
	u.Log.Info("the agent rehearses another program", "build", next.Build, "image", next.Image)
	if err := u.Host.Rehearse(ctx, next); err != nil {
		if ctx.Err() != nil {
			return false, nil // the next life begins anew
		}
		u.Log.Error("the program failed its rehearsal: the agent stays what it is", "build", next.Build, "error", err)
		next.Phase, next.Message = Failed, "the rehearsal failed, nothing was changed: "+err.Error()
		u.end(ctx, last, next)
		return true, nil
	}
	next.Phase, next.Message = Armed, "the new agent takes this one's place"
	next.Deadline = u.Now().Add(u.Patience).UTC().Truncate(time.Second)
	if err := u.save(ctx, &last, next); err != nil {
		return false, err
	}
	u.Log.Info("the rehearsal went well: the new program takes the agent's place", "build", next.Build, "deadline", next.Deadline)
	err = u.Host.Arm(ctx, next)
	if err == nil || errors.Is(err, ErrHandOver) {
		return true, err
	}
	next.Phase, next.Message = Failed, "no guard could be made, nothing was changed: "+err.Error()
	u.end(ctx, last, next)
	return true, nil
}

// end tells how an upgrade ended, whether or not that can be kept: what is kept only saves the next life a rehearsal.
func (u *Upgrader) end(ctx context.Context, last, next Record) {
	if err := u.Host.Save(ctx, last, next); err != nil {
		u.Log.Warn("how an upgrade ended is not written down", "build", next.Build, "error", err)
	}
	u.tell(next)
}

// save keeps next and tells it; last becomes next.
func (u *Upgrader) save(ctx context.Context, last *Record, next Record) error {
	if err := u.Host.Save(ctx, *last, next); err != nil {
		return fmt.Errorf("writing down how far the upgrade is: %w", err)
	}
	*last = next
	u.tell(next)
	return nil
}
