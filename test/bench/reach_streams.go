package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// held is what the hub and the agent hold: memory, in MiB, and open files.
type held struct {
	hub, agent           rig.Memory
	hubFiles, agentFiles int
}

func (s *reach) held() (h held, err error) {
	if h.hub, err = rig.MemoryOf(s.hubPID); err != nil {
		return h, err
	}
	if h.agent, err = rig.MemoryOf(s.agentPID); err != nil {
		return h, err
	}
	if h.hubFiles, err = files(s.hubPID); err != nil {
		return h, err
	}
	h.agentFiles, err = files(s.agentPID)
	return h, err
}

func files(pid int) (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(open), err
}

// streams opens 5,000 watches through one agent, has each tell of one event, and closes them; twice, since what is left of
// the first time shows in the second.
func (s *reach) streams(ctx context.Context, r *report.Report) error {
	before, err := s.held()
	if err != nil {
		return err
	}
	var open [2]held
	for i := range open {
		if open[i], err = s.watches(ctx, r, fmt.Sprintf("%d watches, round %d", goalStreams, i+1)); err != nil {
			return err
		}
	}
	each := func(now, then rig.Memory) float64 { return (now.Now - then.Now) * 1024 / goalStreams }
	r.Lower("hub, memory for each stream", each(open[0].hub, before.hub), "KiB", 0)
	r.Lower("agent, memory for each stream", each(open[0].agent, before.agent), "KiB", 0)
	r.Lower("hub, memory with the second 5,000 against the first", open[1].hub.Now/open[0].hub.Now, "ratio", 0)
	r.Lower("agent, memory with the second 5,000 against the first", open[1].agent.Now/open[0].agent.Now, "ratio", 0)
	// A few connections may be left idle, as before: those to the API server, and of people.
	return rig.Eventually(ctx, 3*time.Minute, func(context.Context) error {
		after, err := s.held()
		if err == nil && (after.hubFiles > before.hubFiles+20 || after.agentFiles > before.agentFiles+20) {
			err = fmt.Errorf("open files did not go back: hub %d to %d, agent %d to %d", before.hubFiles, after.hubFiles, before.agentFiles, after.agentFiles)
		}
		return err
	})
}

// watches opens all watches, makes one event, waits until each has told it, and closes them. It returns what was held while
// they were open.
func (s *reach) watches(ctx context.Context, r *report.Report, what string) (h held, err error) {
	object, err := s.direct.client.CoreV1().ConfigMaps(s.namespace).Get(ctx, "small", metav1.GetOptions{})
	if err != nil {
		return h, err
	}
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	defer stop()
	start := time.Now()
	all, err := s.openWatches(ctx, object.ResourceVersion)
	defer func() {
		for _, w := range all {
			if w != nil {
				w.Stop()
			}
		}
	}()
	if err != nil {
		return h, err
	}
	r.Higher(what+": open at once", float64(len(all)), "streams", goalStreams)
	r.Lower(what+": all open after", time.Since(start).Seconds(), "s", 0)
	if h, err = s.held(); err != nil {
		return h, err
	}
	start = time.Now()
	patch := fmt.Appendf(nil, `{"data":{"round":%q}}`, what)
	if _, err := s.direct.client.CoreV1().ConfigMaps(s.namespace).Patch(ctx, "small", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return h, err
	}
	times := make([]time.Duration, len(all))
	var group errgroup.Group
	for i, w := range all {
		group.Go(func() error {
			select {
			case event := <-w.ResultChan():
				times[i] = time.Since(start)
				if event.Type != watch.Modified {
					return fmt.Errorf("watch %d told of %q: %v", i, event.Type, event.Object)
				}
				return nil
			case <-ctx.Done():
				return fmt.Errorf("watch %d did not tell of the event: %w", i, ctx.Err())
			}
		})
	}
	if err := group.Wait(); err != nil {
		return h, err
	}
	r.Lower(what+": an event came to all", report.Percentile(times, 1)/1000, "s", 0)
	return h, nil
}

func (s *reach) openWatches(ctx context.Context, version string) ([]watch.Interface, error) {
	var mu sync.Mutex
	var all []watch.Interface
	var group errgroup.Group
	group.SetLimit(64)
	for range goalStreams {
		group.Go(func() error {
			w, err := s.hub.client.CoreV1().ConfigMaps(s.namespace).Watch(ctx, metav1.ListOptions{
				FieldSelector: "metadata.name=small", ResourceVersion: version,
			})
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, w)
			return nil
		})
	}
	err := group.Wait()
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(all), err
}
