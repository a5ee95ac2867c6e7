//go:build e2e

package net

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"umbel.dev/umbel/test/net/line"
)

// damage is what happens to a member or to the hub for a while.
type damage string

const (
	unplugged  damage = "the agent has no network"
	silenced   damage = "nothing passes"
	deafened   damage = "nothing comes to the agent"
	muted      damage = "nothing comes from the agent"
	lossy      damage = "packets are lost"
	slow       damage = "the line is slow and long"
	broken     damage = "connections are reset"
	frozen     damage = "the agent's process hangs"
	shellsDie  damage = "the member's API server resets execs"
	killed     damage = "the process is killed"
	stopped    damage = "the process is stopped"
	hubKilled  damage = "the hub is killed"
	hubStopped damage = "the hub is stopped"
	changed    damage = "the member is to hold something else" // which is none, and goes on meanwhile
)

// cut is one damage of a schedule.
type cut struct {
	at, lasts time.Duration // since the round began
	damage    damage
	whom      int // of the members; none where it is the hub's
}

func (c cut) String() string {
	return fmt.Sprintf("%v for %v: member %d: %s", c.at.Round(time.Millisecond), c.lasts.Round(time.Millisecond), c.whom, c.damage)
}

// round says what may happen in one.
type round struct {
	lasts   time.Duration
	members int
	// mortal is how many of the members, from the last one, have processes that are ended.
	mortal int
	// hubDies says how long the hub lives at most; it is not ended if that is longer than the round.
	hubDies time.Duration
}

var lineDamages = []damage{unplugged, silenced, deafened, muted, lossy, slow, broken, broken, frozen, shellsDie, changed}

// schedule draws the cuts of a round, in the order in which they begin. One member has one damage at a time.
func schedule(r round, random *rand.Rand) []cut {
	within := func(least, most time.Duration) time.Duration {
		return least + time.Duration(random.Int64N(int64(most-least)))
	}
	var cuts []cut
	for whom := range r.members {
		damages := lineDamages
		if whom >= r.members-r.mortal {
			damages = append(slices.Clone(damages), killed, killed, stopped)
		}
		for at := within(0, 2*time.Second); at < r.lasts; {
			c := cut{at: at, damage: damages[random.IntN(len(damages))], whom: whom}
			c.lasts = min(within(200*time.Millisecond, 8*time.Second), r.lasts-at)
			cuts = append(cuts, c)
			at += c.lasts + within(300*time.Millisecond, 5*time.Second)
		}
	}
	for at := within(r.hubDies/2, r.hubDies); at < r.lasts; at += within(r.hubDies/2, r.hubDies) {
		what := []damage{hubKilled, hubStopped}[random.IntN(2)]
		cuts = append(cuts, cut{at: at, damage: what, lasts: within(100*time.Millisecond, 4*time.Second)})
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return cmp.Compare(a.at, b.at) })
	return cuts
}

// begin does the damage, and returns what mends it.
func (w *world) begin(c cut, random *rand.Rand) (mend func()) {
	w.Helper()
	p := w.members[c.whom]
	switch c.damage {
	case unplugged:
		w.must(p.line.Plug(line.Out))
		return func() { w.must(p.line.Plug(line.In)) }
	case silenced, deafened, muted:
		p.line.Cut(map[damage]line.Way{silenced: line.Both, deafened: line.ToFar, muted: line.ToNear}[c.damage])
		return p.line.Mend
	case lossy:
		p.line.Set(line.Quality{Latency: 5 * time.Millisecond, Loss: 0.05 + 0.5*random.Float64()})
	case slow:
		p.line.Set(line.Quality{Latency: 200 * time.Millisecond, Bandwidth: 24_000 + random.IntN(100_000)})
	case broken:
		p.line.Break(c.lasts / 4)
		return func() {}
	case frozen:
		w.must(p.process.cmd.Process.Signal(syscall.SIGSTOP))
		return func() { w.must(p.process.cmd.Process.Signal(syscall.SIGCONT)) }
	case shellsDie:
		p.process.tell(order{Do: "break"})
		return func() {}
	case changed:
		w.wish(p, fmt.Sprintf("v%d", random.IntN(1e9)))
		return func() {}
	case killed:
		p.process.kill()
		return p.again
	case stopped:
		p.process.stop()
		return p.again
	case hubKilled:
		w.hub.kill()
		return w.hubAgain
	case hubStopped:
		w.hub.stop()
		return w.hubAgain
	}
	return func() { p.line.Set(line.Quality{}) }
}

// again starts the agent of a member once more, on a new machine: what is in its folder is what it has left.
func (p *place) again() {
	p.Helper()
	p.must(p.line.Close())
	p.settle("agent")
	p.process.tell(order{Do: "start"})
}

// hubAgain starts the hub once more.
func (w *world) hubAgain() {
	w.Helper()
	w.startHub()
	for _, p := range w.members {
		w.wish(p, p.wished)
	}
}

// wish has a member hold a value.
func (w *world) wish(p *place, value string) {
	w.Helper()
	p.wished = value
	if !w.hub.over {
		w.hub.tell(order{Do: "hold", Cluster: string(p.name), Value: value})
	}
}

// suffer does to the world what a schedule says, and mends all of it.
func (w *world) suffer(cuts []cut, random *rand.Rand) {
	w.Helper()
	type step struct {
		at   time.Duration
		do   func()
		what cut
	}
	var mends []step
	began := time.Now()
	until := func(at time.Duration) {
		for len(mends) > 0 && mends[0].at <= at {
			time.Sleep(mends[0].at - time.Since(began))
			mends[0].do()
			mends = mends[1:]
		}
		time.Sleep(at - time.Since(began))
	}
	for _, c := range cuts {
		until(c.at)
		mends = append(mends, step{at: c.at + c.lasts, do: w.begin(c, random), what: c})
		slices.SortStableFunc(mends, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	}
	for len(mends) > 0 {
		until(mends[0].at)
	}
}
