package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// goalFlat is how much larger a hub may be with 20,000 objects than with 1,000.
const goalFlat = 1.25

// measureMemory measures the hub and the agent as objects become more: 1,000, 10,000 and 20,000 on one cluster.
func measureMemory(ctx context.Context, fleet *rig.Fleet, r *report.Report, of size, seed uint64) error {
	s, err := newSite(ctx, fleet, size{packages: 1, strict: of.strict}, seed)
	if err != nil {
		return err
	}
	at := map[int]float64{}
	for _, step := range []struct{ add, total int }{{0, 0}, {1000, 1000}, {9000, 10000}, {10000, 20000}} {
		if step.add > 0 {
			more := &site{
				fleet: fleet, client: s.client, name: fmt.Sprintf("bench-%d", step.total), n: step.add, shares: 1,
				random: rand.New(rand.NewPCG(seed, uint64(step.total))), agent: s.agent, strict: s.strict,
			}
			if _, _, err := more.packageRate(ctx); err != nil {
				return err
			}
		}
		hub, err := one(fleet.Processes("umbel hub --home", fleet.Home))
		if err != nil {
			return fmt.Errorf("looking for the hub's process: %w", err)
		}
		m, err := s.shrunk(ctx, hub)
		if err != nil {
			return err
		}
		agent, err := rig.MemoryOf(s.agent)
		if err != nil {
			return err
		}
		at[step.total] = m.Now
		r.Lower(fmt.Sprintf("hub RSS, %d objects", step.total), m.Now, "MiB", 0)
		r.Lower(fmt.Sprintf("hub RSS, peak so far, %d objects", step.total), m.Peak, "MiB", 0)
		r.Lower(fmt.Sprintf("agent RSS, %d objects, hub there", step.total), agent.Now, "MiB", goalMemory)
	}
	r.Lower("hub RSS with 20,000 objects against 1,000", at[20000]/at[1000], "ratio", goalFlat)
	return nil
}

// shrunk waits a minute, in which a process that needs memory no more gives it back, and returns what it has then.
func (s *site) shrunk(ctx context.Context, pid int) (rig.Memory, error) {
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
		return rig.Memory{}, ctx.Err()
	}
	return rig.MemoryOf(pid)
}
