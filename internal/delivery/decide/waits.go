package decide

import "umbel.dev/umbel/api/v1alpha1"

// What a cluster waits for that is no other Package: WaitsForAgent is how the text begins that says what its agent does not know.
const (
	WaitsForPlan  = "nobody has saved a plan of what the release changes here"
	WaitsForAgent = "its agent does not know "
)

// EveryWait says which clusters wait for anything, and for what. Of several things it is the first.
func (s *Seen) EveryWait(dependencies []Dependency, members []Member) map[v1alpha1.ClusterName]string {
	waits := Waits(dependencies, *s, members)
	add := func(cluster v1alpha1.ClusterName, why string) {
		if waits == nil {
			waits = map[v1alpha1.ClusterName]string{}
		}
		if waits[cluster] == "" {
			waits[cluster] = why
		}
	}
	for _, cluster := range s.unplanned(members) {
		add(cluster, WaitsForPlan)
	}
	for cluster, lacks := range s.outdated(members) {
		add(cluster, WaitsForAgent+lacks)
	}
	return waits
}
