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
	// lasting is written soon.
	lasting
)

// passes is how long passing news wait for what follows them.
const passes = time.Second

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
	return len(report.GetPackages()) > 0 && len(report.GetRemoved()) == 0 && report.GetKubernetesVersion() == ""
}
