package members

import (
	"time"

	"umbel.dev/umbel/api/wire"
)

// news says how soon what was heard of a member is written.
type news int

const (
	// nothing is written: it changes no status.
	nothing news = iota
	// passing is mostly followed by more within a moment, and written with it: a write for each step of each member is what a
	// change of many costs most.
	passing
	// lasting is written soon, unless that many members have such news that telling of a change would hold up the change itself.
	lasting
)

// soon is how many lasting news are written soon in a second, and soonAtOnce how many at once. Further ones wait as passing ones do.
const soon, soonAtOnce = 100, 200

// passing news wait so long for what follows them: passes, or passesEach for each member, since a change of all of them takes
// the longer the more there are.
const (
	passes     = time.Second
	passesEach = time.Millisecond
)

// patience is how long passing news wait now. The caller holds the lock.
func (r *Registry) patience() time.Duration {
	return max(passes, time.Duration(len(r.members))*passesEach)
}

// pause returns how long news of a member wait before they are written. One that has had more writes than it may have takes
// nothing away from the others. The caller holds the lock.
func (r *Registry) pause(rec *record, heard news) time.Duration {
	now := r.config.Now()
	if heard == lasting && rec.writes.TokensAt(now) >= 1 && r.soon.AllowN(now, 1) {
		return coalesce
	}
	return r.patience()
}

// lastingIf is lasting news or none.
func lastingIf(changed bool) news {
	if changed {
		return lasting
	}
	return nothing
}

// underWay says whether a report tells of nothing but packages at which the agent is at work.
func underWay(report *wire.StatusReport) bool {
	for _, p := range report.GetPackages() {
		atWork := p.GetPhase() == wire.PackageStatus_APPLYING || p.GetPhase() == wire.PackageStatus_REMOVING
		if !atWork || len(p.GetFailures()) > 0 {
			return false
		}
	}
	return len(report.GetPackages()) > 0 && len(report.GetRemoved()) == 0 && report.GetKubernetesVersion() == "" && report.GetDeletions() == nil
}
