package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// What Umbel promises.
const (
	goalMemory  = 100 // kB of the hub for an idle agent
	goalProcess = 1024
	goalCPU     = 0.3
	goalChange  = 10 // seconds
	goalStorm   = 20
	goalP99     = 1000 // ms
)

type options struct {
	agents   int // how many
	settle   time.Duration
	profiles string
}

// run is the measuring of one size.
type run struct {
	options
	fleet   *rig.Fleet
	hub     *hubProcess
	api     kube.WithWatch
	members *agents
	report  *report.Report
	empty   float64 // RSS of the hub process before there were agents, in MiB
}

// measure measures one size, from nothing to nothing.
func measure(ctx context.Context, o options) (err error) {
	home, err := os.MkdirTemp("", "umbel-scale-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(home)) }()
	// The disks of ten thousand clusters are not one disk: the agents' are in memory.
	disks, err := os.MkdirTemp("/dev/shm", "umbel-scale-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(disks)) }()
	members, err := newAgents(disks, o.agents)
	if err != nil {
		return err
	}
	fleet := &rig.Fleet{Home: home, Log: os.Stderr}
	r := &run{
		options: o, fleet: fleet, hub: &hubProcess{fleet: fleet, profiled: o.profiles != ""}, members: members,
		report: report.New(fmt.Sprintf("scale-%d", o.agents)),
	}
	defer func() {
		stopped := errors.Join(r.members.stop(), r.hub.stop())
		if err != nil {
			err = fmt.Errorf("%w\nagents say: %s\nthe hub's log ends:\n%s", err, r.members.complaints(), r.hub.lastWords())
		}
		err = errors.Join(err, stopped)
	}()
	return errors.Join(r.steps(ctx), r.report.Write())
}

// steps measures one thing after another. Without a fleet there is nothing to measure; of what comes after that, what fails
// leaves its rows out and the others in.
func (r *run) steps(ctx context.Context) error {
	for _, step := range []func(context.Context) error{r.begin, r.join} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	var errs []error
	for _, step := range []func(context.Context) error{r.idle, r.change, r.restart, r.outage, r.relabel} {
		if err := step(ctx); err != nil {
			r.say("%v", err)
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

func (r *run) say(format string, args ...any) {
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(os.Stderr, "%s %d agents, load %s: %s\n", time.Now().Format(time.TimeOnly), r.agents,
		strings.Join(strings.Fields(string(load))[:min(1, len(load))], ""), fmt.Sprintf(format, args...))
}

// begin starts the hub, with a Package that every member gets, and one for those with the label ring=canary.
func (r *run) begin(ctx context.Context) error {
	if err := os.MkdirAll(r.fleet.Repository(), 0o755); err != nil {
		return err
	}
	if err := r.fleet.Git(ctx, "init -q -b main", "config user.email scale@example.com", "config user.name scale"); err != nil {
		return err
	}
	if err := r.commit(ctx, "base", "first"); err != nil {
		return err
	}
	if err := r.commit(ctx, "canary", "first"); err != nil {
		return err
	}
	if err := r.hub.start(ctx); err != nil {
		return err
	}
	var err error
	if r.api, err = r.fleet.Hub(); err != nil {
		return err
	}
	for name, selector := range map[string]metav1.LabelSelector{"base": {}, "canary": {MatchLabels: map[string]string{"ring": "canary"}}} {
		object := metav1.ObjectMeta{Namespace: "default", Name: name}
		placement := &v1alpha1.Placement{ObjectMeta: object, Spec: v1alpha1.PlacementSpec{ClusterSelector: selector}}
		git := &v1alpha1.GitSource{URL: r.url(), Path: name}
		pkg := &v1alpha1.Package{ObjectMeta: object, Spec: v1alpha1.PackageSpec{
			Source: v1alpha1.Source{Git: git}, PlacementRef: v1alpha1.LocalReference{Name: name},
		}}
		if err := errors.Join(r.api.Create(ctx, placement), r.api.Create(ctx, pkg)); err != nil {
			return err
		}
	}
	return rig.Eventually(ctx, time.Minute, func(ctx context.Context) error {
		return errors.Join(delivered(ctx, r.api, "base", "", 0), delivered(ctx, r.api, "canary", "", 0))
	})
}

func (r *run) url() string { return "file://" + r.fleet.Repository() }

// commit commits a value for the one object of a Package.
func (r *run) commit(ctx context.Context, pkg, value string) error {
	manifest := fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\n  namespace: default\ndata:\n  value: %s\n", pkg, value)
	return r.fleet.Commit(ctx, value, map[string]string{filepath.Join(pkg, "object.yaml"): manifest})
}

// revision is the commit that is to be delivered.
func (r *run) revision(ctx context.Context) (string, error) {
	out, err := r.fleet.Shell(ctx, "cd '"+r.fleet.Repository()+"' && git rev-parse HEAD")
	return strings.TrimSpace(out), err
}

// join makes the agents members, and waits until each holds the first Package.
func (r *run) join(ctx context.Context) error {
	r.say("the hub alone")
	if err := r.pause(ctx, r.settle/4); err != nil {
		return err
	}
	r.say("joining")
	before, _, _, err := r.hub.usages(r.members.processes())
	if err != nil {
		return err
	}
	r.empty = before.rss
	r.report.Lower("hub process without agents, RSS", before.rss, "MiB", 0)
	r.members.await("base", "first")
	start := time.Now()
	if err := register(ctx, r.api, r.agents, r.members.install); err != nil {
		return err
	}
	r.report.Lower("MemberClusters and join tokens created", time.Since(start).Seconds(), "s", 0)
	start = time.Now()
	if err := r.members.start(ctx); err != nil {
		return err
	}
	r.report.Lower("all joined: token, certificate, session", time.Since(start).Seconds(), "s", 0)
	err = rig.Eventually(ctx, 20*time.Minute, func(ctx context.Context) error { return delivered(ctx, r.api, "base", "", r.agents) })
	if err != nil {
		return err
	}
	r.report.Lower("all joined and applied their first package, as the Package says", time.Since(start).Seconds(), "s", 0)
	return nil
}

func (r *run) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// idle measures what agents cost that do nothing.
func (r *run) idle(ctx context.Context) error {
	r.say("idle")
	if said := r.members.complaints(); said != "" {
		r.say("so far agents say: %s", said)
	}
	if err := r.pause(ctx, r.settle); err != nil {
		return err
	}
	const window = 30 * time.Second
	wrote, err := writesOf(ctx, r.fleet.Home)
	if err != nil {
		return err
	}
	own, api, agents, err := r.hub.usages(r.members.processes())
	if err != nil {
		return err
	}
	start := time.Now()
	if err := r.pause(ctx, window); err != nil {
		return err
	}
	ownAfter, apiAfter, agentsAfter, err := r.hub.usages(r.members.processes())
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	writesAfter, err := writesOf(ctx, r.fleet.Home)
	if err != nil {
		return err
	}
	forMembers, leases := writesAfter.since(wrote)
	r.report.Lower("hub process, idle, RSS", ownAfter.rss, "MiB", goalProcess)
	r.report.Lower("hub process, RSS for each idle agent", (ownAfter.rss-r.empty)*1024*1024/1000/float64(r.agents), "kB", goalMemory)
	r.report.Lower("hub process, RSS at its highest", ownAfter.peak, "MiB", 0)
	r.report.Lower("hub's etcd and API server, idle, RSS", apiAfter.rss, "MiB", 0)
	r.report.Lower("hub process, idle, processor", (ownAfter.cpu-own.cpu)/seconds, "cores", goalCPU)
	r.report.Lower("hub's etcd and API server, idle, processor", (apiAfter.cpu-api.cpu)/seconds, "cores", 0)
	r.report.Lower("the agents beside them, idle, processor", (agentsAfter.cpu-agents.cpu)/seconds, "cores", 0)
	r.report.Lower("the agents, RSS", agentsAfter.rss, "MiB", 0)
	r.report.Lower("API writes for members, idle", forMembers/seconds, "1/s", 0)
	r.report.Lower("API writes of Leases, idle", leases/seconds, "1/s", 0)
	return errors.Join(
		r.hub.profile(r.profiles, fmt.Sprintf("idle-%d-heap.pb.gz", r.agents), "heap?gc=1"),
		r.hub.profile(r.profiles, fmt.Sprintf("idle-%d-goroutines.txt", r.agents), "goroutine?debug=1"),
		r.hub.profile(r.profiles, fmt.Sprintf("idle-%d-cpu.pb.gz", r.agents), "profile?seconds=20"),
	)
}

// meter says, when it is called again, what processor time hub, API and agents have used since, for each of so many.
func (r *run) meter() (spent func(what string, n int) error, err error) {
	own, api, agents, err := r.hub.usages(r.members.processes())
	if err != nil {
		return nil, err
	}
	return func(what string, n int) error {
		ownNow, apiNow, agentsNow, err := r.hub.usages(r.members.processes())
		if err != nil {
			return err
		}
		each := func(now, then usage) float64 { return (now.cpu - then.cpu) * 1000 / float64(n) }
		r.report.Lower(what+": processor of the hub for each member", each(ownNow, own), "ms", 0)
		r.report.Lower(what+": processor of its API for each member", each(apiNow, api), "ms", 0)
		r.report.Lower(what+": processor of the agent, for each", each(agentsNow, agents), "ms", 0)
		return nil
	}, nil
}

// change measures a change of one object.
func (r *run) change(ctx context.Context) error {
	r.say("one object changes")
	const rounds = 3
	var half, all, told, wrote float64
	spent, err := r.meter()
	if err != nil {
		return err
	}
	for i := range rounds {
		before, err := writesOf(ctx, r.fleet.Home)
		if err != nil {
			return err
		}
		value := fmt.Sprintf("change-%d", i)
		if err := r.commit(ctx, "base", value); err != nil {
			return err
		}
		revision, err := r.revision(ctx)
		if err != nil {
			return err
		}
		var profiled errgroup.Group
		if i == rounds-1 {
			profiled.Go(func() error {
				return r.hub.profile(r.profiles, fmt.Sprintf("change-%d-cpu.pb.gz", r.agents), "profile?seconds=10")
			})
		}
		r.members.await("base", value)
		start := time.Now()
		if _, err := r.fleet.Umbel(ctx, "refresh", "package", "--git", r.url(), "--quiet"); err != nil { // as the repository's hook does
			return err
		}
		times, err := r.arrivals(ctx, r.agents)
		if err != nil {
			return err
		}
		err = rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error {
			return delivered(ctx, r.api, "base", revision, r.agents)
		})
		told = max(told, time.Since(start).Seconds())
		if err = errors.Join(err, profiled.Wait()); err != nil {
			return err
		}
		half, all = max(half, report.Percentile(times, 0.5)/1000), max(all, report.Percentile(times, 1)/1000)
		after, err := writesOf(ctx, r.fleet.Home)
		if err != nil {
			return err
		}
		members, _ := after.since(before)
		wrote = max(wrote, members)
	}
	if err := spent("one object changes", rounds*r.agents); err != nil {
		return err
	}
	r.report.Lower("one object changes: applied in half of the members, worst of 3", half, "s", 0)
	r.report.Lower("one object changes: applied in all members, worst of 3", all, "s", goalChange)
	r.report.Lower("one object changes: all have said so, as the Package says, worst of 3", told, "s", goalChange)
	r.report.Lower("one object changes: API writes for each member, worst of 3", wrote/float64(r.agents), "writes", 0)
	return nil
}

// arrivals waits until what is awaited has come in so many members, and returns when.
func (r *run) arrivals(ctx context.Context, n int) ([]time.Duration, error) {
	var times []time.Duration
	err := rig.Eventually(ctx, 5*time.Minute, func(context.Context) error {
		if times = r.members.arrived(); len(times) < n {
			return fmt.Errorf("%q came to %d of %d members", r.members.watched.ConfigMap, len(times), n)
		}
		return nil
	})
	return times, err
}
