package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	// editGap is the time between two edits: 50 in a second.
	editGap = 20 * time.Millisecond
	// besides is how many objects are applied while edits come in.
	besides = 5000
)

// measureEdits measures, while 50 edits in a second come in and the hub is there, how fast each is put back, and how fast
// other objects are applied meanwhile; of the packages and of the bare loop, in turn.
func measureEdits(ctx context.Context, fleet *rig.Fleet, r *report.Report, of size, seed uint64) error {
	s, err := newSite(ctx, fleet, of, seed)
	if err != nil {
		return err
	}
	limit := s.limit()
	if _, err := s.bareRate(ctx, limit); err != nil {
		return err
	}
	if _, _, err := s.packageRate(ctx); err != nil {
		return err
	}
	ours, err := observe(ctx, s.client, s.name)
	if err != nil {
		return err
	}
	defer ours.stop()
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
	if err := s.editedInTurn(ctx, r, ours, theirs); err != nil {
		return err
	}
	return s.appliedMeanwhile(ctx, r, ours, theirs)
}

// editedInTurn edits objects of the packages for ten seconds, then those of the bare loop, five times.
func (s *site) editedInTurn(ctx context.Context, r *report.Report, ours, theirs *observer) error {
	const rounds, each = 5, 10 * time.Second
	var umbel, loop []time.Duration
	var cpu float64
	for range rounds {
		before, err := rig.CPUOf(s.agent)
		if err != nil {
			return err
		}
		took, err := s.edit(ctx, ours, s.name, time.After(each))
		if err != nil {
			return fmt.Errorf("edits: %w", err)
		}
		after, err := rig.CPUOf(s.agent)
		if err != nil {
			return err
		}
		cpu += after - before
		umbel = append(umbel, took...)
		if took, err = s.edit(ctx, theirs, s.limit().namespace, time.After(each)); err != nil {
			return fmt.Errorf("edits, bare loop: %w", err)
		}
		loop = append(loop, took...)
	}
	s.compare(r, "50 edits/s: ", umbel, loop)
	r.Lower(s.label("50 edits/s: agent CPU for each"), 1000*cpu/float64(len(umbel)), "ms", 0)
	return nil
}

// compare reports times to repair beside those of the bare loop.
func (s *site) compare(r *report.Report, what string, umbel, loop []time.Duration) {
	r.Lower(s.label(what+"bare repair, p50"), report.Percentile(loop, 0.5), "ms", 0)
	r.Lower(s.label(what+"bare repair, p99"), report.Percentile(loop, 0.99), "ms", 0)
	r.Lower(s.label(what+"bare repair, worst"), report.Percentile(loop, 1), "ms", 0)
	r.Lower(s.label(what+"repair, p50"), report.Percentile(umbel, 0.5), "ms", 0)
	r.Lower(s.label(what+"repair, p99"), report.Percentile(umbel, 0.99), "ms", 0)
	r.Lower(s.label(what+"repair, worst"), report.Percentile(umbel, 1), "ms", goalWorst)
	r.Lower(s.label(what+"repair against bare, p50"), report.Percentile(umbel, 0.5)/report.Percentile(loop, 0.5), "ratio", goalP50)
	r.Lower(s.label(what+"repair against bare, p99"), report.Percentile(umbel, 0.99)/report.Percentile(loop, 0.99), "ratio", goalP99)
}

// edit changes an object every 20 ms until stop, each time another one, and returns how long each took to come back.
func (s *site) edit(ctx context.Context, watching *observer, namespace string, stop <-chan time.Time) (times []time.Duration, err error) {
	ticker := time.NewTicker(editGap)
	defer ticker.Stop()
	results := make(chan time.Duration, s.n)
	var group errgroup.Group
	for _, i := range s.random.Perm(s.n) {
		group.Go(func() error {
			took, err := s.editOne(ctx, watching, namespace, objectName(i))
			results <- took
			return err
		})
		select {
		case <-ticker.C:
			continue
		case <-stop:
		case <-ctx.Done():
		}
		break
	}
	if err := errors.Join(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	close(results)
	for took := range results {
		times = append(times, took)
	}
	return times, nil
}

// editOne edits an object and returns how long it took to come back, counted from the edit's response.
func (s *site) editOne(ctx context.Context, watching *observer, namespace, name string) (time.Duration, error) {
	drifted := false
	back := watching.await(name, func(o seenObject) bool {
		drifted = drifted || o.data["v"] != "1"
		return drifted && o.data["v"] == "1"
	})
	_, err := s.client.CoreV1().ConfigMaps(namespace).Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"v":"drift"}}`), metav1.PatchOptions{FieldManager: "mutator"})
	if err != nil {
		return 0, err
	}
	return awaitBack(ctx, back, name+" in "+namespace)
}

// awaitBack returns how long after now something came back.
func awaitBack(ctx context.Context, back <-chan time.Time, what string) (time.Duration, error) {
	done := time.Now()
	select {
	case at := <-back:
		return max(0, at.Sub(done)), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("%s did not come back within %s", what, patience)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// appliedMeanwhile applies other objects while edits come in: by the bare program beside the bare loop, as another package, and
// by the bare program again.
func (s *site) appliedMeanwhile(ctx context.Context, r *report.Report, ours, theirs *observer) error {
	other := &site{fleet: s.fleet, client: s.client, name: s.name + "-more", n: besides, shares: 1, random: s.random, agent: s.agent, strict: s.strict}
	bareRate := func(suffix string) (rate float64, err error) {
		_, err = s.whileEdited(ctx, theirs, s.limit().namespace, func() error {
			rate, err = other.bareRate(ctx, bare{s.client, other.name + suffix})
			return err
		})
		return rate, err
	}
	before, err := bareRate("-bare")
	if err != nil {
		return err
	}
	var rate float64
	times, err := s.whileEdited(ctx, ours, s.name, func() error {
		rate, _, err = other.packageRate(ctx)
		return err
	})
	if err != nil {
		return err
	}
	after, err := bareRate("-bare-again")
	if err != nil {
		return err
	}
	r.Higher(s.label(fmt.Sprintf("50 edits/s: bare parallel apply of %d more", besides)), (before+after)/2, "objects/s", 0)
	r.Higher(s.label(fmt.Sprintf("50 edits/s: package apply of %d more", besides)), rate, "objects/s", 0)
	r.Higher(s.label("50 edits/s: package apply against bare"), 2*rate/(before+after), "ratio", goalRate)
	r.Lower(s.label("50 edits/s: repair while a package is applied, p50"), report.Percentile(times, 0.5), "ms", 0)
	r.Lower(s.label("50 edits/s: repair while a package is applied, worst"), report.Percentile(times, 1), "ms", 0)
	return nil
}

// whileEdited does something while edits come in, and returns how long those took to come back.
func (s *site) whileEdited(ctx context.Context, watching *observer, namespace string, do func() error) (times []time.Duration, err error) {
	stop := make(chan time.Time)
	var group errgroup.Group
	group.Go(func() error {
		times, err = s.edit(ctx, watching, namespace, stop)
		return err
	})
	done := do()
	close(stop)
	return times, errors.Join(done, group.Wait())
}
