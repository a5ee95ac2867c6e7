package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/delivery/apply"
	"umbel.dev/umbel/internal/profile/about"
	"umbel.dev/umbel/internal/upgrade/self"
)

// What the agent keeps in its folder beside packagesDir and stateFile (home.go).
const (
	identityDir  = "identity"
	metricsDir   = "metrics"
	farewellName = "farewell.json"
)

// hasLetGo says whether the agent has let go in this membership. What it let go of in an earlier one is forgotten first:
// it was not to be looked after any more, and the agent was killed before it was gone.
func (m *membership) hasLetGo(ctx context.Context) (bool, error) {
	said, err := m.farewells().load(ctx)
	if err != nil {
		return false, err
	}
	if said == (farewell{}) || said == farewellOf(m.boot) {
		return said != (farewell{}), nil
	}
	m.Log.Info("the cluster left its fleet and was joined anew: what it held then is forgotten")
	if err := m.forget(packagesDir, metricsDir, apply.DeletedDir, apply.HistoryDir, apply.SealedName, levelName); err != nil {
		return false, err
	}
	return false, m.farewells().save(ctx, farewell{})
}

// letGo returns what the agent does when it is told to go. What is left after it stays as it is: rest ends the repairs. That
// the cluster belongs to the fleet is not true any more, so what says so goes, with or without prune.
func (m *membership) letGo(engine *apply.Engine, properties *about.Keeper, rest func()) func(context.Context, *wire.Detach) error {
	return func(ctx context.Context, wish *wire.Detach) error {
		if wish.GetPrune() && !m.observes() { // nothing is deleted there
			if err := engine.RemoveAll(ctx); err != nil {
				return err
			}
		}
		rest()
		if err := properties.Remove(ctx); err != nil {
			return err
		}
		return m.farewells().save(ctx, farewellOf(m.boot))
	}
}

// end takes away what joining installed and what the agent kept, in an order in which it may be killed and begin again:
// what goes last is the farewell, by which it knows that it is to go.
func (m *membership) end(ctx context.Context) error {
	installed, err := m.api.installed(ctx)
	if err != nil {
		return err
	}
	if installed != nil && installed.Cluster == "" {
		if installed.Cluster, err = m.api.selfName(ctx, *installed, m.Log); err != nil {
			return err
		}
	}
	if installed != nil && farewellOf(*installed) != farewellOf(m.boot) {
		m.Log.Info("the cluster is being joined anew: what is installed stays")
		return nil
	}
	if err := m.api.uninstall(ctx); err != nil {
		return err
	}
	if err := m.forget(append(slices.Clone(self.Kept), packagesDir, metricsDir, apply.DeletedDir, apply.HistoryDir, apply.SealedName, identityDir, stateFile, fenceName, levelName, farewellName)...); err != nil {
		return err
	}
	m.Log.Info("the member has left the fleet, and the agent with it")
	return nil
}

// awaitAnother waits until there is another bootstrap, or ctx ends. If the agent ended instead, whoever runs it would
// only start it again.
func (m *membership) awaitAnother(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		boot, err := m.bootstrap(ctx, m.api)
		if err == nil && boot != m.boot {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// forget deletes parts of the agent's folder, in this order.
func (m *membership) forget(parts ...string) error {
	for _, part := range parts {
		if err := os.RemoveAll(filepath.Join(m.Dir, part)); err != nil {
			return fmt.Errorf("deleting what the agent kept: %w", err)
		}
	}
	return nil
}

// forgetKey deletes the agent's key and what goes with it. What it holds stays.
func (m *membership) forgetKey(ctx context.Context) error {
	if !m.isPod() {
		return m.forget(identityDir)
	}
	return insist(ctx, m.Log, "deleting the agent's key, which was revoked", m.api.deleteKey)
}

// farewells is where this agent's farewell is.
func (m *membership) farewells() farewellHome {
	if m.isPod() {
		return farewellMap{m.api.client, m.Log}
	}
	return farewellFile(filepath.Join(m.Dir, farewellName))
}

// isPod says whether the agent runs as a pod of its member.
func (o Options) isPod() bool { return o.Config.BearerTokenFile == serviceAccountToken }
