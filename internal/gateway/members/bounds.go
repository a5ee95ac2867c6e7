package members

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
)

// What a member says is bounded twice, so that a broken or hostile one harms nobody else: each text when it is heard
// (bounded), with all details together (hold), which bounds the hub's memory; and the list of packages when it goes into
// the status (fit), which bounds what the API stores.

const (
	maxVersion  = 128
	maxMessage  = 1024
	maxImage    = 512
	maxFailures = 10
	// maxDetails is how many bytes the messages, failures and repairs of all packages of a member may take in memory.
	maxDetails = 512 << 10
	// maxPackages is how many bytes status.packages may take, as JSON. The API server may note the fields of each entry beside
	// it (managedFields, see forgetManagers), which at worst takes as much again; etcd takes 1.5 MB for an object.
	maxPackages = 512 << 10
	// maxDrifts is how many drifts the status names of all packages together, if no more packages than that have any: each write of a status is a write of
	// all of them, and while many objects are edited it is written again and again. The agent's own history has all.
	maxDrifts = 100
)

// bounded returns what the agent says of a package, with every text bounded, and nothing that this version does not know.
func bounded(p *wire.PackageStatus) *wire.PackageStatus {
	b := &wire.PackageStatus{
		Package: p.GetPackage(), // which package session has looked at
		Release: clip(p.GetRelease(), 253), Revision: clip(p.GetRevision(), 256), Digest: clip(p.GetDigest(), 128),
		Phase: p.GetPhase(), Message: clip(p.GetMessage(), maxMessage),
		Objects: p.GetObjects(), Applied: p.GetApplied(), Healthy: p.GetHealthy(), Repairs: p.GetRepairs(),
	}
	for _, f := range p.GetFailures()[:min(len(p.GetFailures()), maxFailures)] {
		b.Failures = append(b.Failures, &wire.Failure{
			Object: clip(f.GetObject(), 512), File: clip(f.GetFile(), 512), Message: clip(f.GetMessage(), maxMessage),
		})
	}
	if r := p.GetLastRepair(); r != nil {
		b.LastRepair = &wire.LastRepair{Object: clip(r.GetObject(), 512), Cause: clip(r.GetCause(), 256)}
	}
	b.DeletesHeld = boundedHeld(p.GetDeletesHeld())
	b.Refused = clip(p.GetRefused(), 253)
	b.Drifting, b.Drifts = p.GetDrifting(), boundedDrifts(p.GetDrifts())
	b.Contested = boundedContests(p.GetContested())
	return b
}

// details is how many bytes of what is known of a package are details.
func details(p *wire.PackageStatus) int {
	n := len(p.GetMessage()) + len(p.GetLastRepair().GetObject()) + len(p.GetLastRepair().GetCause())
	for _, f := range p.GetFailures() {
		n += len(f.GetObject()) + len(f.GetFile()) + len(f.GetMessage())
	}
	for _, name := range p.GetDeletesHeld().GetNames() {
		n += len(name)
	}
	return n + driftDetails(p.GetDrifts()) + contestDetails(p.GetContested())
}

// hold notes what is known of a package. What all details together have no room for is left out: failures, then the rest.
func (f *Facts) hold(p *wire.PackageStatus) {
	p = bounded(p)
	f.drop(v1alpha1.PackageKey(p.GetPackage()))
	if f.details+details(p) > maxDetails {
		p.Failures = nil
	}
	if f.details+details(p) > maxDetails {
		p.Message, p.LastRepair, p.Drifts, p.Contested = "", nil, nil, nil
		if p.DeletesHeld != nil {
			p.DeletesHeld.Names = nil // that there are some is never left out
		}
	}
	f.details += details(p)
	f.Packages[v1alpha1.PackageKey(p.GetPackage())] = p
}

// drop forgets a package.
func (f *Facts) drop(key v1alpha1.PackageKey) {
	f.details -= details(f.Packages[key])
	delete(f.Packages, key)
}

// latest leaves the latest drifts of each package, of all packages alike, as many as there is room for.
func latest(all []v1alpha1.MemberPackage) {
	for each := v1alpha1.MaxDrifts; each > 0; each-- {
		together := 0
		for i := range all {
			all[i].Drifts = all[i].Drifts[:min(len(all[i].Drifts), each)]
			together += len(all[i].Drifts)
		}
		if together <= maxDrifts {
			return
		}
	}
}

// diets leave details of a package out, one after the other, until what a member holds fits into its status.
var diets = []func(*v1alpha1.MemberPackage){
	func(p *v1alpha1.MemberPackage) { p.Drifts = nil }, // how many are left as they are stays
	func(p *v1alpha1.MemberPackage) { p.Failures = p.Failures[:min(len(p.Failures), 3)] },
	func(p *v1alpha1.MemberPackage) { p.Failures = p.Failures[:min(len(p.Failures), 1)] },
	func(p *v1alpha1.MemberPackage) { p.Failures = nil },
	func(p *v1alpha1.MemberPackage) { p.Message = clip(p.Message, 128) },
	func(p *v1alpha1.MemberPackage) { p.Message = "" },
	func(p *v1alpha1.MemberPackage) { p.LastRepair = nil },
	func(p *v1alpha1.MemberPackage) {
		if p.DeletesHeld != nil {
			p.DeletesHeld.Names = nil // the numbers stay: whoever approves has to know of them
		}
	},
	func(p *v1alpha1.MemberPackage) { p.Revision, p.Digest = "", "" },
	func(p *v1alpha1.MemberPackage) { p.Release = "" },
}

// fit returns what a status has room for, in the same order. Details are left out first, of all packages alike. A package
// that the status lists already stays: its agent may hold it. Of the others those that the member is to hold come before
// those that its agent claims, and what has no room at all is counted: it is not listed, so no agent is told to hold it.
func fit(all, before []v1alpha1.MemberPackage, desired Desired) (fitting []v1alpha1.MemberPackage, omitted int) {
	latest(all)
	for _, leaveOut := range diets {
		if size(all) <= maxPackages {
			return all, 0
		}
		for i := range all {
			leaveOut(&all[i])
		}
	}
	rank := make(map[v1alpha1.PackageKey]int, len(all))
	for key := range desired.Set.Assign {
		rank[key] = 1
	}
	for _, p := range before {
		rank[p.Package] = 2
	}
	ranked := slices.Clone(all)
	slices.SortStableFunc(ranked, func(a, b v1alpha1.MemberPackage) int { return cmp.Compare(rank[b.Package], rank[a.Package]) })
	room := maxPackages
	for i, p := range ranked {
		room -= size(ranked[i : i+1])
		if room >= 0 || rank[p.Package] == 2 {
			fitting = append(fitting, p)
		}
	}
	slices.SortFunc(fitting, func(a, b v1alpha1.MemberPackage) int { return strings.Compare(string(a.Package), string(b.Package)) })
	return fitting, len(all) - len(fitting)
}

// size is how many bytes the packages take as JSON.
func size(packages []v1alpha1.MemberPackage) int {
	raw, err := json.Marshal(packages)
	if err != nil {
		return maxPackages + 1 // it cannot be: there is nothing in them that has no JSON
	}
	return len(raw)
}

// clip bounds a text and makes it one that the API takes.
func clip(text string, most int) string {
	if len(text) <= most {
		return strings.ToValidUTF8(text, "?")
	}
	return strings.ToValidUTF8(text[:most-3], "") + "…"
}
