package members

import (
	"maps"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/session"
)

// The listing of a member is status.packages: whatever its agent may hold. It grows before the agent is told and
// shrinks after the agent has spoken:
//
//  1. Plan lists what the agent said that it holds, what may be under way to it, and what it is about to be told.
//  2. Packages that Plan leaves out are told to nobody from then on (unlist), and the status is written.
//  3. Packages that the written status names may be told (list); the session asks again.
//  4. The session tells those alone (Presence.Desired). They are Told until the agent has answered, and held from then
//     on, until it reports that they are gone or says in a new Hello what it holds.

// listing returns what the member holds or may hold, and what it is about to be told to hold.
func listing(facts Facts, desired Desired) map[v1alpha1.PackageKey]*wire.PackageStatus {
	all := maps.Clone(facts.Packages)
	add := func(assigned map[v1alpha1.PackageKey]*wire.Assignment) {
		for key, a := range assigned {
			if all[key] == nil {
				all[key] = awaited(a)
			}
		}
	}
	add(facts.Told)
	if facts.InSession && desired.Known {
		add(desired.Set.Assign)
	}
	return all
}

// awaited is the state of a package of which the agent has not said anything yet.
func awaited(a *wire.Assignment) *wire.PackageStatus {
	return &wire.PackageStatus{
		Package: a.GetPackage(), Release: a.GetRelease(), Revision: a.GetRevision(), Phase: wire.PackageStatus_APPLYING,
		Message: "the agent is told to hold it and has not said yet how far it is",
	}
}

// Desired returns what the agent may be told now: what the member is to hold, as far as its status lists it. It is for
// session.HubConfig.
func (p *Presence) Desired() (session.DesiredSet, bool) {
	r, after := p.registry, coalesce
	defer func() { r.poke(p.Cluster, after) }() // Synced depends on the answer
	// Asked before the lock is taken, since it looks at every Package and all sessions share the lock. What has been decided
	// otherwise since was told to the session, which asks again. And nothing is told that is not listed when the lock is held:
	// from then on it stays listed, so that whoever decides otherwise finds the package in the status.
	set, known := r.config.Desired(p.Cluster)
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.members[p.Cluster]
	if rec == nil || rec.presence != p {
		return session.DesiredSet{}, false
	}
	told := make(map[v1alpha1.PackageKey]*wire.Assignment, len(set.Assign))
	for key, a := range set.Assign {
		if rec.listed[key] {
			told[key] = a
		}
	}
	if len(told) == len(set.Assign) && len(rec.listed) > 0 {
		after = r.patience() // the agent is told, and says soon what became of it; what is not listed yet is listed at once
	}
	set.Assign, rec.facts.Told, set.Undo = told, told, rec.undo
	return set, known
}

// Listed holds a token when the answer of Desired may have grown, also by what is to be undone.
func (p *Presence) Listed() <-chan struct{} { return p.listed }

// found notes what the stored status lists when the hub starts. Later only its own writes count: a cache may be late.
func (r *Registry) found(cluster v1alpha1.ClusterName, stored []v1alpha1.MemberPackage) {
	r.mu.Lock()
	known := r.record(cluster).listed != nil
	r.mu.Unlock()
	if !known {
		r.list(cluster, stored)
	}
}

// list notes that the stored status lists these packages: the agent may be told of them.
func (r *Registry) list(cluster v1alpha1.ClusterName, stored []v1alpha1.MemberPackage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.record(cluster)
	before := rec.listed
	rec.listed = keys(stored)
	if rec.presence == nil || maps.Equal(before, rec.listed) {
		return
	}
	select {
	case rec.presence.listed <- struct{}{}:
	default:
	}
}

// lists says whether the stored status surely lists these packages.
func (r *Registry) lists(cluster v1alpha1.ClusterName, planned []v1alpha1.MemberPackage) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	listed := r.record(cluster).listed
	for _, p := range planned {
		if !listed[p.Package] {
			return false
		}
	}
	return true
}

// unlist notes that the status is about to be written with these packages: none but them is told from now on. It says
// false when the agent may hold one that is not among them: then the plan is out of date, and nothing is noted.
func (r *Registry) unlist(cluster v1alpha1.ClusterName, planned []v1alpha1.MemberPackage) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, stay := r.record(cluster), keys(planned)
	for key := range rec.listed {
		if !stay[key] && (rec.facts.Told[key] != nil || rec.facts.Packages[key] != nil) {
			return false
		}
	}
	maps.DeleteFunc(rec.listed, func(key v1alpha1.PackageKey, _ bool) bool { return !stay[key] })
	return true
}

func keys(packages []v1alpha1.MemberPackage) map[v1alpha1.PackageKey]bool {
	set := make(map[v1alpha1.PackageKey]bool, len(packages))
	for _, p := range packages {
		set[p.Package] = true
	}
	return set
}
