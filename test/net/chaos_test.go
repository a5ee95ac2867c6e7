//go:build e2e

package net

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
)

const (
	// chaosEnv is how long TestChaos cuts, such as 1h; a minute unless set.
	chaosEnv = "CHAOS"
	// seedEnv has it do again what it did with that seed.
	seedEnv = "SEED"
)

// What a process may hold more when all is quiet than when it was quiet first.
const (
	moreGoroutines = 10
	moreFiles      = 8
	moreHeap       = 8 << 20
)

// TestChaos is a schedule of cuts, drawn from a seed, while people exec, watch, read logs, copy and ask: lines that end, lose,
// crawl and reset, processes that hang, are stopped and are killed. Every stream goes on or ends with an error, and what came
// is what was sent; when it is quiet everybody goes on, every member holds what it is to hold, and no process holds more than
// before.
func TestChaos(t *testing.T) {
	lasts, seed := chaosOf(t)
	t.Logf("to repeat it: %s=%v %s=%d go test -tags e2e -count 1 -timeout 0 -run TestChaos ./test/net", chaosEnv, lasts, seedEnv, seed)
	w := newWorld(t, time.Second)
	for i := range 4 {
		p := w.join(v1alpha1.ClusterName(fmt.Sprintf("prod-%d", i)), "")
		w.wish(p, "v0")
		p.start()
	}
	quiet := map[*process]usage{}
	w.quiet(w.gather(), quiet) // and so everything has been used once
	// Half of the rounds end processes, and half let them be, so that what they lose is seen.
	each := max(lasts/20, 30*time.Second)
	cuts, began := 0, time.Now()
	for n := 0; n < 2 || time.Since(began) < lasts; n++ {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		r := round{lasts: each, members: len(w.members), hubDies: time.Hour}
		if n%2 == 0 {
			r.mortal, r.hubDies = 2, 20*time.Second
		}
		plan := schedule(r, random)
		crowd := w.gather()
		w.suffer(plan, random)
		cuts += len(plan)
		t.Logf("round %d: %d cuts", n+1, len(plan))
		w.quiet(crowd, quiet)
		if t.Failed() {
			for _, c := range plan {
				t.Log(c)
			}
			t.FailNow()
		}
	}
	t.Logf("%d cuts in %v", cuts, time.Since(began).Round(time.Second))
}

func chaosOf(t *testing.T) (lasts time.Duration, seed uint64) {
	t.Helper()
	lasts, seed = time.Minute, rand.Uint64N(1e6)
	var err error
	if text := os.Getenv(chaosEnv); text != "" {
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", chaosEnv, err)
		}
	}
	if text := os.Getenv(seedEnv); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedEnv, err)
		}
	}
	return lasts, seed
}

// quiet is the end of a round: everything works, everybody leaves, and what processes hold is compared with what they held
// when it was quiet first.
func (w *world) quiet(c *crowd, first map[*process]usage) {
	w.Helper()
	for _, p := range w.members {
		p.connected()
		p.holds(p.wished)
	}
	c.movesOn()
	c.disperse()
	c.verdict()
	w.nothingLeft(first)
}

// idleFor is a little longer than a connection that nobody uses is kept open.
const idleFor = 35 * time.Second

// nothingLeft waits until no process holds more than when it was quiet first, which is noted of new ones.
func (w *world) nothingLeft(first map[*process]usage) {
	w.Helper()
	processes := map[string]*process{"the hub": w.hub}
	for _, p := range w.members {
		processes[string(p.name)] = p.process
	}
	began, fresh, worst := time.Now(), map[*process]usage{}, w.hub
	defer func() {
		if w.Failed() {
			w.Logf("most is in\n%s", worst.tell(order{Do: "heap"}).Heap)
		}
	}()
	w.eventually("processes hold what they held", func() error {
		var err error
		for who, p := range processes {
			now := p.tell(order{Do: "use"}).Usage
			before, known := first[p]
			if !known {
				fresh[p] = now // the latest, when idle connections have ended
			} else if now.exceeds(before) {
				worst, err = p, fmt.Errorf("%s holds %v, and held %v", who, now, before)
			}
		}
		if err == nil && len(fresh) > 0 && time.Since(began) < idleFor {
			err = fmt.Errorf("some are new")
		}
		time.Sleep(time.Second)
		return err
	})
	for p, now := range fresh {
		first[p] = now
	}
	for _, who := range slices.Sorted(maps.Keys(processes)) {
		p := processes[who]
		w.Logf("%s holds %v; when it was quiet first %v", who, p.tell(order{Do: "use"}).Usage, first[p])
	}
}

// exceeds says whether a process holds more than it may.
func (u usage) exceeds(before usage) bool {
	return u.Goroutines > before.Goroutines+moreGoroutines || u.Files > before.Files+moreFiles || u.Heap > before.Heap+moreHeap
}
