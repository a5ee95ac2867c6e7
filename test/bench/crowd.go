package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
	"umbel.dev/umbel/test/scale/fakekube"
)

const (
	// crowdSize is how many agents there are beside the real member, and crowdDeaths how often a replica is killed with its share of them.
	crowdSize   = 600
	crowdDeaths = 3
)

// crowd is many agents: the real code, in this process, each with a Kubernetes API in memory (package fakekube).
type crowd struct {
	dir     string
	running sync.WaitGroup
	end     context.CancelFunc

	mu    sync.Mutex
	since map[v1alpha1.ClusterName]time.Time // it is in session; none when it is not
}

// gather has the crowd join, and returns when all of it is in session.
func gather(ctx context.Context, api kube.Client, dir string) (*crowd, error) {
	klog.SetSlogLogger(slog.New(slog.DiscardHandler))
	c := &crowd{dir: dir, since: map[v1alpha1.ClusterName]time.Time{}}
	within, end := context.WithCancel(ctx)
	c.end = end
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for i := range crowdSize {
		name := v1alpha1.ClusterName(fmt.Sprintf("one-of-many-%03d", i))
		group.Go(func() error {
			boot, err := rig.Register(ctx, api, name, nil)
			if err != nil {
				return err
			}
			if err := c.start(within, name, boot); err != nil {
				return err
			}
			return rig.Eventually(ctx, time.Minute, func(context.Context) error {
				if c.session(name).IsZero() {
					return fmt.Errorf("%s is not in session", name)
				}
				return nil
			})
		})
	}
	return c, group.Wait()
}

// start starts an agent.
func (c *crowd) start(ctx context.Context, name v1alpha1.ClusterName, boot v1alpha1.Bootstrap) error {
	raw, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.dir, string(name))
	bootstrap := filepath.Join(dir, "bootstrap.json")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(bootstrap, raw, 0o600); err != nil {
		return err
	}
	c.running.Go(func() {
		member := fakekube.New(func(fakekube.Write) {})
		err := agent.Run(ctx, agent.Options{Dir: dir, Bootstrap: bootstrap, Config: member.Config(), Log: slog.New(ear{c, name})})
		if ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "  %s ended: %v\n", name, err)
		}
	})
	return nil
}

func (c *crowd) session(name v1alpha1.ClusterName) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since[name]
}

// stop ends the agents.
func (c *crowd) stop() {
	c.end()
	c.running.Wait()
}

// ear is the log of an agent, which tells nobody else whether it is in session.
type ear struct {
	crowd *crowd
	name  v1alpha1.ClusterName
}

func (e ear) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (e ear) WithAttrs([]slog.Attr) slog.Handler               { return e }
func (e ear) WithGroup(string) slog.Handler                    { return e }

func (e ear) Handle(_ context.Context, r slog.Record) error {
	e.crowd.mu.Lock()
	defer e.crowd.mu.Unlock()
	switch r.Message {
	case "in session with the hub":
		e.crowd.since[e.name] = time.Now()
	case "not in session with the hub":
		delete(e.crowd.since, e.name)
	}
	return nil
}

// measureCrowd kills the replica that has the member, with its share of many others, and takes the time until each of these is in session again.
func (f *failover) measureCrowd(ctx context.Context, r *report.Report) error {
	c, err := gather(ctx, f.api, filepath.Join(f.fleet.Home, "crowd"))
	defer c.stop()
	if err != nil {
		return err
	}
	var times, answers []time.Duration
	var moved []float64
	for range crowdDeaths {
		has, err := f.session(ctx)
		if err != nil {
			return err
		}
		names, err := f.of(ctx, has)
		if err != nil {
			return err
		}
		start := time.Now()
		_, answered, err := f.death(ctx)
		if err != nil {
			return err
		}
		answers, moved = append(answers, answered), append(moved, float64(len(names)))
		for _, name := range names {
			err := rig.Eventually(ctx, time.Minute, func(context.Context) error {
				if !c.session(name).After(start) {
					return fmt.Errorf("%s has not come back", name)
				}
				return nil
			})
			if err != nil {
				return err
			}
			times = append(times, c.session(name).Sub(start))
		}
	}
	r.Higher("a replica is killed that has many agents: how many, median", median(moved), "agents", 0)
	r.Lower("… one of them is in session again, p50", report.Percentile(times, 0.5), "ms", 0)
	r.Lower("… p99", report.Percentile(times, 0.99), "ms", 0)
	r.Lower("… worst", report.Percentile(times, 1), "ms", goalFailover)
	r.Lower("… the real member answers through another replica, worst", report.Percentile(answers, 1), "ms", goalFailover)
	return nil
}

// of returns the members of the crowd that are with a replica.
func (f *failover) of(ctx context.Context, replica string) ([]v1alpha1.ClusterName, error) {
	var all v1alpha1.MemberClusterList
	if err := f.api.List(ctx, &all); err != nil {
		return nil, err
	}
	var names []v1alpha1.ClusterName
	for _, member := range all.Items {
		if session := member.Status.Session; session != nil && session.Replica == replica && member.Name != "failover" {
			names = append(names, v1alpha1.ClusterName(member.Name))
		}
	}
	return names, nil
}
