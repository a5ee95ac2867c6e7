package members

import (
	"slices"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// agentOf returns what the status says of the agent's program, from what it said before and what the agent says now.
func agentOf(before *v1alpha1.MemberAgent, now v1alpha1.MemberAgent, at time.Time) *v1alpha1.MemberAgent {
	if now.Build == "" {
		return nil // too old to say
	}
	now.Since = *stored(at)
	if before != nil && before.Build == now.Build {
		now.Since = before.Since
	}
	return &now
}

// maxFeatures and maxFeature are how many MemberCluster.status has room for, and how long they may be.
const maxFeatures, maxFeature = 64, 64

// featuresOf are what an agent says that it knows of, each once. What this hub has no room for it does not know either.
func featuresOf(hello *wire.Hello) []string {
	features := slices.DeleteFunc(slices.Clone(hello.GetFeatures()), func(name string) bool { return name == "" || len(name) > maxFeature })
	slices.Sort(features)
	features = slices.Compact(features)
	return features[:min(len(features), maxFeatures)]
}

var upgradePhases = map[wire.UpgradeState_Phase]v1alpha1.UpgradePhase{
	wire.UpgradeState_REHEARSING:  v1alpha1.UpgradeRehearsing,
	wire.UpgradeState_SWITCHING:   v1alpha1.UpgradeSwitching,
	wire.UpgradeState_DONE:        v1alpha1.UpgradeDone,
	wire.UpgradeState_FAILED:      v1alpha1.UpgradeFailed,
	wire.UpgradeState_ROLLED_BACK: v1alpha1.UpgradeRolledBack,
}

// upgradeOf translates what an agent says of an upgrade, within bounds.
func upgradeOf(state *wire.UpgradeState) *v1alpha1.MemberUpgrade {
	phase, known := upgradePhases[state.GetPhase()]
	if !known {
		return nil // nothing was said, or in a word of a later version
	}
	return &v1alpha1.MemberUpgrade{
		Build: clip(state.GetBuild(), maxVersion), Attempt: state.GetAttempt(), Phase: phase, Message: clip(state.GetMessage(), maxMessage),
	}
}
