package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// moment notes when a word is written first.
type moment struct {
	word string
	at   time.Time
}

func (m *moment) Write(p []byte) (int, error) {
	if m.at.IsZero() && bytes.Contains(p, []byte(m.word)) {
		m.at = time.Now()
	}
	return len(p), nil
}

// measureCommit times commits in the example repository until every cluster holds what they say.
func measureCommit(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	const rounds = 20
	start := time.Now()
	if _, err := fleet.Umbel(ctx, "up"); err != nil {
		return err
	}
	r.Lower("umbel up: hub, three clusters, packages delivered", time.Since(start).Seconds(), "s", 0)
	clusters := []string{"prod-eu", "prod-us", "dev"}
	watchers := make([]*observer, len(clusters))
	for i, name := range clusters {
		client, err := fleet.Clients(name)
		if err != nil {
			return err
		}
		if watchers[i], err = observe(ctx, client, "shop"); err != nil {
			return err
		}
		defer watchers[i].stop()
	}
	var times []time.Duration
	for i := range rounds {
		value := fmt.Sprintf("round %d", i)
		arrivals := make([]<-chan time.Time, len(watchers))
		for j, w := range watchers {
			arrivals[j] = w.await("storefront", func(o seenObject) bool { return o.data["greeting"] == value })
		}
		start := time.Now()
		err := fleet.Commit(ctx, value, map[string]string{
			"shop/storefront.yaml": fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: storefront\n  namespace: shop\ndata:\n  greeting: %s\n", value),
		})
		if err != nil {
			return err
		}
		var last time.Time
		for j, arrival := range arrivals {
			select {
			case at := <-arrival:
				if at.After(last) {
					last = at
				}
			case <-time.After(time.Minute):
				return fmt.Errorf("commit %q did not reach %s within a minute", value, clusters[j])
			}
		}
		times = append(times, last.Sub(start))
	}
	r.Lower("git commit to applied on 3 clusters, p50", report.Percentile(times, 0.5)/1000, "s", 1)
	r.Lower("git commit to applied on 3 clusters, worst of 20", report.Percentile(times, 1)/1000, "s", 0)
	hub, err := fleet.Processes("umbel hub", fleet.Home)
	if err != nil || len(hub) != 1 {
		return fmt.Errorf("looking for the hub's process: %v, %w", hub, err)
	}
	memory, err := rig.MemoryOf(hub[0])
	if err != nil {
		return err
	}
	r.Lower("hub process, RSS with 3 clusters", memory.Now, "MiB", 0)
	return nil
}

func kill(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}
