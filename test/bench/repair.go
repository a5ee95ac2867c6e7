package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// The goals of DESIGN.md.
const (
	goalP50, goalP99 = 1.5, 2.0
	goalWorst        = 250.0 // ms
	goalRate         = 0.8   // of the bare program's
	goalMemory       = 150   // MiB
	goalIdle         = 0.1   // s of CPU in a minute
)

// patience is how long one object may take to come back before the run is a failure.
const patience = 2 * time.Minute

// site is a cluster with a fleet's agent, and a namespace that one package fills, or several together.
type site struct {
	fleet  *rig.Fleet
	client *kubernetes.Clientset
	name   string // of the namespace, and of the package where it is one
	n      int    // objects in all
	shares int    // packages that have a part of them each; 1 has them all, and the namespace too
	random *rand.Rand
	agent  int  // its process
	strict bool // its Packages are signed, planned, and act as a team's account
}

// size is how many objects, in how many packages, and whether these are trusted with nothing.
type size struct {
	objects, packages int
	strict            bool
}

// newSite makes a fleet of one cluster: others would have a part of the processors.
func newSite(ctx context.Context, fleet *rig.Fleet, of size, seed uint64) (*site, error) {
	n := of.objects
	if _, err := fleet.Umbel(ctx, "down"); err != nil {
		return nil, err
	}
	if _, err := fleet.Umbel(ctx, "up", "--cluster", "bench,env=bench,region=here"); err != nil {
		return nil, err
	}
	client, err := fleet.Clients("bench")
	if err != nil {
		return nil, err
	}
	s := &site{
		fleet: fleet, client: client, name: fmt.Sprintf("bench-%d", n), n: n, shares: of.packages, random: rand.New(rand.NewPCG(seed, uint64(n))),
		strict: of.strict,
	}
	if s.strict {
		if err := s.distrust(ctx); err != nil {
			return nil, err
		}
	}
	s.agent, err = s.findAgent()
	fmt.Fprintf(os.Stderr, "%d objects in %d packages, seed %d\n", n, of.packages, seed)
	return s, err
}

func (s *site) limit() bare { return bare{s.client, s.name + "-bare"} }

// measureApply measures how fast objects are applied.
func measureApply(ctx context.Context, fleet *rig.Fleet, r *report.Report, of size, seed uint64) error {
	s, err := newSite(ctx, fleet, of, seed)
	if err != nil {
		return err
	}
	_, err = s.applyRates(ctx, r, s.limit())
	return err
}

// measureRepair measures how fast objects are applied and how fast drift is put back.
func measureRepair(ctx context.Context, fleet *rig.Fleet, r *report.Report, of size, seed uint64) error {
	s, err := newSite(ctx, fleet, of, seed)
	if err != nil {
		return err
	}
	limit := s.limit()
	rate, err := s.applyRates(ctx, r, limit)
	if err != nil {
		return err
	}
	// From here on there is no hub.
	hub, err := fleet.Processes("umbel hub", fleet.Home)
	if err != nil || len(hub) != 1 {
		return fmt.Errorf("looking for the hub's process: %v, %w", hub, err)
	}
	if err := kill(hub[0]); err != nil {
		return err
	}
	ours, err := observe(ctx, s.client, s.name)
	if err != nil {
		return err
	}
	defer ours.stop()
	after, err := s.steady(ctx, ours, 40*time.Second)
	if err != nil {
		return fmt.Errorf("right after the sync: %w", err)
	}
	r.Lower(s.label("repair right after the sync, p50"), report.Percentile(after, 0.5), "ms", 0)
	r.Lower(s.label("repair right after the sync, p99"), report.Percentile(after, 0.99), "ms", 0)
	r.Lower(s.label("repair right after the sync, worst"), report.Percentile(after, 1), "ms", goalWorst)
	if err := s.settled(ctx, r, ours, limit); err != nil {
		return err
	}
	if err := s.bursts(ctx, r, ours, limit, rate); err != nil {
		return err
	}
	return s.footprint(ctx, r)
}

func (s *site) label(what string) string {
	if s.strict {
		what = "signed, planned, as a team: " + what
	}
	if s.shares > 1 {
		return fmt.Sprintf("%s, %d packages of %d objects", what, s.shares, s.n/s.shares)
	}
	return fmt.Sprintf("%s, %d objects", what, s.n)
}

func (s *site) findAgent() (int, error) {
	pids, err := s.fleet.Processes("umbel-agent", "--dir=/var/lib/umbel-agent")
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err == nil && strings.Contains(string(raw), "-bench-0") {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("the agent's process was not found among %v", pids)
}

// applyRates applies n objects with the bare program, as a package, and with the bare program again: an API server gets
// warm, a disk gets busy. It returns the mean of the bare program's rates.
func (s *site) applyRates(ctx context.Context, r *report.Report, limit bare) (float64, error) {
	before, err := s.bareRate(ctx, limit)
	if err != nil {
		return 0, err
	}
	spent, err := rig.CPUOf(s.agent)
	if err != nil {
		return 0, err
	}
	ours, whole, err := s.packageRate(ctx)
	if err != nil {
		return 0, err
	}
	spentSince, err := rig.CPUOf(s.agent)
	if err != nil {
		return 0, err
	}
	after, err := s.bareRate(ctx, bare{limit.client, limit.namespace + "-again"})
	if err != nil {
		return 0, err
	}
	rate := (before + after) / 2
	r.Higher(s.label("bare parallel apply, before"), before, "objects/s", 0)
	r.Higher(s.label("bare parallel apply, after"), after, "objects/s", 0)
	r.Higher(s.label("package apply, first to last object"), ours, "objects/s", 0)
	r.Higher(s.label("package apply against bare"), ours/rate, "ratio", goalRate)
	r.Lower(s.label("agent CPU for the apply"), spentSince-spent, "s", 0)
	r.Lower(s.label("package created to applied (fetch, render, pull, apply)"), whole.Seconds(), "s", 0)
	return rate, nil
}

// bareRate applies n objects with the bare program.
func (s *site) bareRate(ctx context.Context, limit bare) (float64, error) {
	if err := limit.create(ctx); err != nil {
		return 0, err
	}
	looking, err := observe(ctx, s.client, limit.namespace) // the eye that looks at ours costs the API server as much
	if err != nil {
		return 0, err
	}
	defer looking.stop()
	rate, err := limit.applyAll(ctx, s.n)
	if err != nil {
		return 0, fmt.Errorf("bare apply: %w", err)
	}
	return rate, nil
}

// mutate deletes or edits an object at random and returns how long it took to come back, counted from the mutation's
// response.
func (s *site) mutate(ctx context.Context, watching *observer, namespace string) (time.Duration, error) {
	name := objectName(s.random.IntN(s.n))
	objects := s.client.CoreV1().ConfigMaps(namespace)
	before, err := objects.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	if s.random.IntN(2) == 0 {
		return s.editOne(ctx, watching, namespace, name)
	}
	back := watching.await(name, func(o seenObject) bool { return o.uid != string(before.UID) })
	if err := objects.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return 0, err
	}
	return awaitBack(ctx, back, name+" in "+namespace)
}

// steady mutates one object after another for d.
func (s *site) steady(ctx context.Context, watching *observer, d time.Duration) ([]time.Duration, error) {
	var times []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		took, err := s.mutate(ctx, watching, s.name)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
		time.Sleep(20 * time.Millisecond) // a rate of mutations that leaves room to see each
	}
	return times, nil
}

// settled compares repairs with the bare loop's, in alternating blocks of the same run.
func (s *site) settled(ctx context.Context, r *report.Report, ours *observer, limit bare) error {
	theirs, err := observe(ctx, s.client, limit.namespace)
	if err != nil {
		return err
	}
	defer theirs.stop()
	end, err := limit.loop(ctx)
	if err != nil {
		return err
	}
	defer end()
	const blocks, each = 10, 50
	var umbel, bareTimes []time.Duration
	for range blocks {
		for range each {
			took, err := s.mutate(ctx, ours, s.name)
			if err != nil {
				return fmt.Errorf("settled: %w", err)
			}
			umbel = append(umbel, took)
		}
		for range each {
			took, err := s.mutate(ctx, theirs, limit.namespace)
			if err != nil {
				return fmt.Errorf("settled, bare loop: %w", err)
			}
			bareTimes = append(bareTimes, took)
		}
	}
	s.compare(r, "", umbel, bareTimes)
	return nil
}

// bursts deletes 200 objects back to back, of the package and of the bare loop, in turn.
func (s *site) bursts(ctx context.Context, r *report.Report, ours *observer, limit bare, applyRate float64) error {
	theirs, err := observe(ctx, s.client, limit.namespace)
	if err != nil {
		return err
	}
	defer theirs.stop()
	end, err := limit.loop(ctx)
	if err != nil {
		return err
	}
	defer end()
	var umbel, loop burst
	for range 15 {
		if err := s.burst(ctx, &umbel, ours, s.name); err != nil {
			return fmt.Errorf("burst: %w", err)
		}
		if err = s.burst(ctx, &loop, theirs, limit.namespace); err != nil {
			return fmt.Errorf("burst, bare loop: %w", err)
		}
	}
	r.Higher(s.label("burst of 200 deletes, the deletes alone"), umbel.deletes(), "objects/s", 0)
	r.Higher(s.label("burst of 200 deletes, the deletes alone, bare loop"), loop.deletes(), "objects/s", 0)
	r.Higher(s.label("burst of 200 deletes, repairs, the deletes included"), umbel.whole(), "objects/s", 0)
	r.Higher(s.label("burst of 200 deletes, bare loop, the deletes included"), loop.whole(), "objects/s", 0)
	r.Higher(s.label("burst against bare loop, the deletes included"), umbel.whole()/loop.whole(), "ratio", goalRate)
	r.Higher(s.label("burst of 200 deletes, repairs once all are deleted"), umbel.drained(), "objects/s", 0)
	r.Higher(s.label("burst of 200 deletes, bare loop once all are deleted"), loop.drained(), "objects/s", 0)
	r.Higher(s.label("burst once all are deleted against bare apply rate"), umbel.drained()/applyRate, "ratio", goalRate)
	return nil
}

// burst sums up how fast deleted objects came back.
type burst struct {
	deleted, late      int           // those that were deleted; those of them that were still missing after the last delete
	deleting, draining time.Duration // until the last delete; from then on until the last one was back
}

func (b burst) deletes() float64 { return float64(b.deleted) / b.deleting.Seconds() }

// whole is from the first delete on, when the deletes cost the API server as much as the repairs.
func (b burst) whole() float64 { return float64(b.deleted) / (b.deleting + b.draining).Seconds() }

// drained is from the last delete on.
func (b burst) drained() float64 {
	return float64(b.late) / max(b.draining, time.Millisecond).Seconds()
}

// burst deletes 200 objects, 16 at once, waits until all are back, and adds how long it took.
func (s *site) burst(ctx context.Context, sum *burst, watching *observer, namespace string) error {
	const count = 200
	objects := s.client.CoreV1().ConfigMaps(namespace)
	names := s.random.Perm(s.n)[:count]
	back := make([]<-chan time.Time, count)
	for i, n := range names {
		before, err := objects.Get(ctx, objectName(n), metav1.GetOptions{})
		if err != nil {
			return err
		}
		back[i] = watching.await(objectName(n), func(o seenObject) bool { return o.uid != string(before.UID) })
	}
	start := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, n := range names {
		group.Go(func() error { return objects.Delete(groupCtx, objectName(n), metav1.DeleteOptions{}) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	deleted := time.Now()
	last, late := deleted, 0
	for i, arrival := range back {
		select {
		case at := <-arrival:
			if at.After(deleted) {
				late++
			}
			if at.After(last) {
				last = at
			}
		case <-time.After(patience):
			return fmt.Errorf("%s did not come back", objectName(names[i]))
		}
	}
	sum.deleted, sum.late = sum.deleted+count, sum.late+late
	sum.deleting, sum.draining = sum.deleting+deleted.Sub(start), sum.draining+last.Sub(deleted)
	return nil
}

func median(all []float64) float64 {
	var times []time.Duration
	for _, v := range all {
		times = append(times, time.Duration(v*float64(time.Millisecond)))
	}
	return report.Percentile(times, 0.5)
}

// footprint measures the agent's memory and what it costs when nothing happens.
func (s *site) footprint(ctx context.Context, r *report.Report) error {
	before, err := rig.CPUOf(s.agent)
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := rig.CPUOf(s.agent)
	if err != nil {
		return err
	}
	m, err := rig.MemoryOf(s.agent)
	if err != nil {
		return err
	}
	r.Lower(s.label("agent idle CPU in a minute, hub gone"), after-before, "s", goalIdle)
	r.Lower(s.label("agent RSS"), m.Now, "MiB", goalMemory)
	r.Lower(s.label("agent RSS, peak"), m.Peak, "MiB", goalMemory)
	return nil
}
