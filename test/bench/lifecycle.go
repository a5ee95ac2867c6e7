package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// What Umbel promises about the life of a cluster.
const (
	goalAPI     = 3   // s until the API of a local cluster answers
	goalNode    = 5   // s until its node is Ready
	goalDelete  = 5   // s until nothing of it is left
	goalUpgrade = 30  // s to the next minor, with a worker
	goalPlane   = 250 // MiB of a control plane
	manyPlanes  = 50
)

// measureStart times local clusters, one after another, from nothing to a Ready node, and to nothing again.
func measureStart(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	const rounds = 3
	var serves, ready, ended []time.Duration
	for i := range rounds {
		name := fmt.Sprintf("start-%d", i)
		api, node := &moment{word: "Kubernetes API"}, &moment{word: "node Ready"}
		timed := *fleet
		timed.Log = io.MultiWriter(fleet.Log, api, node)
		start := time.Now()
		if _, err := timed.Umbel(ctx, "local", "create", name); err != nil {
			return err
		}
		if api.at.IsZero() || node.at.IsZero() {
			return fmt.Errorf("umbel local create %s did not say when its API served, or its node was Ready", name)
		}
		serves, ready = append(serves, api.at.Sub(start)), append(ready, node.at.Sub(start))
		fmt.Fprintf(os.Stderr, "  %s: node Ready after %s, with DNS and images after %s\n", name, node.at.Sub(start), time.Since(start))
		start = time.Now()
		if _, err := fleet.Umbel(ctx, "local", "delete", name); err != nil {
			return err
		}
		ended = append(ended, time.Since(start))
	}
	r.Lower("local cluster until its API serves, median", report.Percentile(serves, 0.5)/1000, "s", goalAPI)
	r.Lower("local cluster to Ready node, median", report.Percentile(ready, 0.5)/1000, "s", goalNode)
	r.Lower("local cluster deleted, median", report.Percentile(ended, 0.5)/1000, "s", goalDelete)
	return nil
}

// measurePlanes times control planes without nodes, made one after another while all before go on, and what memory they hold.
func measurePlanes(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	quiet := *fleet
	quiet.Log = io.Discard
	before, err := rig.MemoryInUse()
	if err != nil {
		return err
	}
	var times []time.Duration
	for i := range manyPlanes {
		start := time.Now()
		if _, err := quiet.Umbel(ctx, "local", "create", planeName(i), "--nodes=0"); err != nil {
			return err
		}
		times = append(times, time.Since(start))
		fmt.Fprintf(os.Stderr, "  control plane %d after %s\n", i+1, times[i].Round(time.Millisecond))
	}
	if err := pause(ctx, 30*time.Second); err != nil {
		return err
	}
	after, err := rig.MemoryInUse()
	if err != nil {
		return err
	}
	var proportional float64
	for i := range manyPlanes {
		pids, err := fleet.Processes(filepath.Join(fleet.Home, "local", planeName(i)) + "/")
		if err != nil {
			return err
		}
		for _, pid := range pids {
			share, err := rig.ProportionOf(pid)
			if err != nil {
				return err
			}
			proportional += share
		}
	}
	idle, err := cores(ctx, fleet, 20*time.Second, filepath.Join(fleet.Home, "local")+"/")
	if err != nil {
		return err
	}
	start := time.Now()
	for i := range manyPlanes {
		if _, err := quiet.Umbel(ctx, "local", "delete", planeName(i)); err != nil {
			return err
		}
	}
	r.Lower("a control plane alone until its API serves", times[0].Seconds(), "s", goalAPI)
	of := func(what string) string { return fmt.Sprintf("%d control planes: %s", manyPlanes, what) }
	r.Lower(of("each until its API serves, median"), report.Percentile(times, 0.5)/1000, "s", goalAPI)
	r.Lower(of("the slowest of them"), report.Percentile(times, 1)/1000, "s", 0)
	r.Lower(of("memory of the machine, each"), (after-before)/manyPlanes, "MiB", goalPlane)
	r.Lower(of("proportional set size, each"), proportional/manyPlanes, "MiB", 0)
	r.Lower(of("all of them, idle"), idle, "cores", 0)
	r.Lower(of("deleted, each"), time.Since(start).Seconds()/manyPlanes, "s", goalDelete)
	return nil
}

func planeName(i int) string { return fmt.Sprintf("plane-%d", i) }

// measureUpgrade times a cluster of the hub's with a worker from nothing, to the next minor, and to nothing again.
func measureUpgrade(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	if err := prepareLifecycle(ctx, fleet, "local"); err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		goal float64
		args []string
	}{
		{"cluster with a worker made, as a member", 0, []string{"cluster", "create", "grown", "--version", "1.35", "--workers", "1"}},
		{"… upgraded to the next minor", goalUpgrade, []string{"cluster", "upgrade", "grown", "--version", "1.36"}},
		{"… deleted", goalDelete, []string{"cluster", "delete", "grown", "--yes"}},
	} {
		start := time.Now()
		if _, err := fleet.Umbel(ctx, step.args...); err != nil {
			return err
		}
		r.Lower(step.what, time.Since(start).Seconds(), "s", step.goal)
		if err := pause(ctx, 10*time.Second); err != nil { // what was looked at within a second waits for its next look
			return err
		}
	}
	return nil
}

// prepareLifecycle starts a hub that makes clusters, of its own or of a provider of which it gets the arguments.
func prepareLifecycle(ctx context.Context, fleet *rig.Fleet, provider ...string) error {
	for _, args := range [][]string{{"up", "--cluster", "edge", "--example=none"}, append([]string{"provider", "add"}, provider...)} {
		if _, err := fleet.Umbel(ctx, args...); err != nil {
			return err
		}
	}
	quiet := *fleet
	quiet.Log = io.Discard
	return rig.Eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		out, err := quiet.Umbel(ctx, "provider", "list", "-o", "wide")
		if err == nil && strings.Count(out, "Serving") != 2 {
			err = errors.New(out)
		}
		return err
	})
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// cores is how many cores the processes take together whose command line has a word, while so long nothing is asked of them.
func cores(ctx context.Context, fleet *rig.Fleet, d time.Duration, word string) (float64, error) {
	pids, err := fleet.Processes(word)
	if err != nil {
		return 0, err
	}
	used := func() (sum float64, err error) {
		for _, pid := range pids {
			cpu, err := rig.CPUOf(pid)
			if err != nil {
				return 0, err
			}
			sum += cpu
		}
		return sum, nil
	}
	before, err := used()
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, d); err != nil {
		return 0, err
	}
	after, err := used()
	return (after - before) / d.Seconds(), err
}
