package members

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
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

// That an agent is at work is written of workAtOnce members at once, and of work more in a second. Of further ones it goes unwritten as
// long as worksUntold: who is done by then has one write and not two.
const (
	workAtOnce, work = 50, 10
	worksUntold      = 30 * time.Second
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

// atWork says whether a status tells no more than the one before but that the agent is at work at packages that were listed already.
func atWork(before, after v1alpha1.MemberClusterStatus) bool {
	synced := meta.FindStatusCondition(after.Conditions, v1alpha1.ConditionSynced)
	if synced == nil || synced.Reason != v1alpha1.ReasonApplying || len(before.Packages) != len(after.Packages) {
		return false
	}
	for i := range after.Packages {
		was, now := &before.Packages[i], &after.Packages[i]
		busy := now.Phase == v1alpha1.PackageApplying || now.Phase == v1alpha1.PackageRemoving
		quiet := was.Package == now.Package && busy && len(now.Failures) == 0 && now.DeletesHeld == nil
		if !quiet && !equality.Semantic.DeepEqual(was, now) {
			return false
		}
	}
	return equality.Semantic.DeepEqual(besideWork(before), besideWork(after))
}

// besideWork is a status without what changes while an agent is at work.
func besideWork(status v1alpha1.MemberClusterStatus) v1alpha1.MemberClusterStatus {
	status.Packages = nil
	status.Conditions = slices.DeleteFunc(slices.Clone(status.Conditions), func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionSynced || c.Type == v1alpha1.ConditionReady
	})
	return status
}

// rest returns how long it may go unwritten yet that the member's agent is at work: no time, unless that is so of many.
func (r *Registry) rest(cluster v1alpha1.ClusterName) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, rec := r.config.Now(), r.record(cluster)
	if rec.atWork.IsZero() {
		rec.atWork = now
	}
	left := rec.atWork.Add(worksUntold).Sub(now)
	if left <= 0 || r.work.AllowN(now, 1) {
		return 0
	}
	return min(left, r.patience())
}
