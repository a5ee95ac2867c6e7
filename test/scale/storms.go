package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// restart measures how all agents come back at once to a hub that is started again at once.
func (r *run) restart(ctx context.Context) error { return r.storm(ctx, "restart", 0) }

// outage is the same when the hub was away for so long that every agent waits for its longest time between attempts.
func (r *run) outage(ctx context.Context) error { return r.storm(ctx, "60 s away", time.Minute) }

func (r *run) storm(ctx context.Context, name string, away time.Duration) error {
	r.say("storm: %s", name)
	gone := time.Now()
	if err := r.hub.stop(); err != nil {
		return err
	}
	if err := r.pause(ctx, away); err != nil {
		return err
	}
	start := time.Now()
	if err := r.hub.start(ctx); err != nil {
		return err
	}
	open := time.Now()
	var profiled errgroup.Group
	profiled.Go(func() error {
		return r.hub.profile(r.profiles, fmt.Sprintf("storm-%d-cpu.pb.gz", r.agents), "profile?seconds=15")
	})
	sampled := sample(ctx, r.api)
	last, err := r.awaitBack(ctx, gone)
	if err == nil {
		err = r.pause(ctx, 15*time.Second) // what the hub writes because of it
	}
	times, failed, left := sampled.end(ctx, r.api)
	if err = errors.Join(err, left, profiled.Wait()); err != nil {
		return err
	}
	err = rig.Eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		err := connected(ctx, r.api)
		if err != nil {
			_ = r.pause(ctx, 2*time.Second) // to look costs the API a second when there are many
		}
		return err
	})
	if err != nil {
		return err
	}
	wrote, err := writesOf(ctx, r.fleet.Home) // of an API server that began with the hub
	if err != nil {
		return err
	}
	own, api, _, err := r.hub.usages(r.members.processes())
	if err != nil {
		return err
	}
	members, _ := wrote.since(writes{"configmaps": wrote["configmaps"]})
	r.report.Lower(name+": hub started until its gateway is open", open.Sub(start).Seconds(), "s", 0)
	r.report.Lower(name+": gateway open until all agents are back", last.Sub(open).Seconds(), "s", goalStorm)
	r.report.Lower(name+": hub's API meanwhile, p50", report.Percentile(times, 0.5), "ms", 0)
	r.report.Lower(name+": hub's API meanwhile, p99", report.Percentile(times, 0.99), "ms", goalP99)
	r.report.Lower(name+": requests to it that failed", float64(failed), "requests", 0)
	r.report.Lower(name+": hub process, processor since its start", own.cpu, "s", 0)
	r.report.Lower(name+": etcd and API server, processor since their start", api.cpu, "s", 0)
	r.report.Lower(name+": API writes for each member", members/float64(r.agents), "writes", 0)
	r.report.Lower(name+": hub process, RSS at its highest", own.peak, "MiB", 0)
	return nil
}

// awaitBack waits until every agent has a session that began after the hub was gone, and returns when the last one began.
func (r *run) awaitBack(ctx context.Context, gone time.Time) (last time.Time, err error) {
	err = rig.Eventually(ctx, 5*time.Minute, func(context.Context) error {
		missing := 0
		for _, since := range r.members.sessions() {
			if since.Before(gone) { // it has not noticed yet, or is not back
				missing++
			}
			if since.After(last) {
				last = since
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d agents are not back", missing, r.agents)
		}
		return nil
	})
	return last, err
}

// relabel measures a label that is set on many clusters one after another, and taken off again.
func (r *run) relabel(ctx context.Context) error {
	n := min(1000, r.agents)
	for _, c := range []struct{ name, label, value string }{
		{fmt.Sprintf("label set on %d clusters", n), `"canary"`, "first"},
		{fmt.Sprintf("label taken off %d clusters", n), "null", ""},
	} {
		r.say("%s", c.name)
		before, err := writesOf(ctx, r.fleet.Home)
		if err != nil {
			return err
		}
		sampled := sample(ctx, r.api)
		r.members.await("canary", c.value)
		start := time.Now()
		patch := kube.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"ring":`+c.label+`}}}`))
		for i := range n {
			member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: string(clusterName(i))}}
			if err := r.api.Patch(ctx, member, patch); err != nil {
				return err
			}
		}
		labelled := time.Since(start)
		times, err := r.arrivals(ctx, n)
		if err != nil {
			return err
		}
		expected := n
		if c.value == "" {
			expected = 0
		}
		if err := rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error { return delivered(ctx, r.api, "canary", "", expected) }); err != nil {
			return err
		}
		told := time.Since(start)
		answers, failed, err := sampled.end(ctx, r.api)
		if err != nil {
			return err
		}
		after, err := writesOf(ctx, r.fleet.Home)
		if err != nil {
			return err
		}
		members, _ := after.since(before)
		members -= after["configmaps"] - before["configmaps"]
		r.report.Lower(c.name+": one after another", labelled.Seconds(), "s", 0)
		r.report.Lower(c.name+": then until it has come to all", report.Percentile(times, 1)/1000-labelled.Seconds(), "s", 0)
		r.report.Lower(c.name+": then until the Package says so", (told - labelled).Seconds(), "s", 0)
		r.report.Lower(c.name+": API writes for each of them", members/float64(n), "writes", 0)
		r.report.Lower(c.name+": hub's API meanwhile, p99", report.Percentile(answers, 0.99), "ms", goalP99)
		r.report.Lower(c.name+": requests to it that failed", float64(failed), "requests", 0)
	}
	return nil
}
