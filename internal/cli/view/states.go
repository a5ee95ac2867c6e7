package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/output"
)

// State says how far one cluster is with one package. The words are those that Package.status.clusters counts by.
type State string

// The states.
const (
	Ready       State = "Ready"       // it holds the current Release and every object is healthy
	Progressing State = "Progressing" // it is on its way there
	Failing     State = "Failing"     // something could not be applied, or is not healthy
	Unknown     State = "Unknown"     // nobody has heard of it lately
	Removing    State = "Removing"    // it is not selected any more and still holds objects
)

// ClusterState is one package on one cluster.
type ClusterState struct {
	// Cluster is its name.
	Cluster v1alpha1.ClusterName `json:"cluster"`
	// State says how far it is.
	State State `json:"state"`
	// Message says what it waits for or what is wrong.
	Message string `json:"message,omitempty"`
	// LastSeen is when the cluster answered last, when it does not now.
	LastSeen *metav1.Time `json:"lastSeen,omitempty"`
	// Package is what the cluster said last.
	Package *v1alpha1.MemberPackage `json:"package,omitempty"`
}

// Fleet is what a package's states are made of.
type Fleet struct {
	// Package is the package.
	Package *v1alpha1.Package
	// Release is its current one; nil when there is none.
	Release *v1alpha1.Release
	// Placement says which clusters get it; nil when there is none.
	Placement *v1alpha1.Placement
	// Clusters are all members.
	Clusters []v1alpha1.MemberCluster
}

// States returns the state of the package on every cluster that is selected or holds it, sorted by name.
func (m Moment) States(fleet Fleet) []ClusterState {
	selected := map[v1alpha1.ClusterName]bool{}
	if fleet.Placement != nil {
		for _, name := range fleet.Placement.Status.Clusters {
			selected[name] = true
		}
	}
	states := map[v1alpha1.ClusterName]ClusterState{}
	for name := range selected {
		states[name] = ClusterState{Cluster: name, State: Unknown, Message: "there is no such cluster any more"}
	}
	key := v1alpha1.KeyOf(fleet.Package.Namespace, fleet.Package.Name)
	for i := range fleet.Clusters {
		cluster := &fleet.Clusters[i]
		name := v1alpha1.ClusterName(cluster.Name)
		held := find(cluster, key)
		if held == nil && !selected[name] {
			continue
		}
		leaving := fleet.Package.DeletionTimestamp != nil || decided(fleet.Placement) && !selected[name]
		states[name] = m.state(fleet, cluster, held, leaving)
	}
	return slices.SortedFunc(maps.Values(states), func(a, b ClusterState) int { return cmp.Compare(a.Cluster, b.Cluster) })
}

// decided says whether the placement knows what its spec selects. Where it does not, nothing is on its way out.
func decided(placement *v1alpha1.Placement) bool {
	return placement != nil && placement.Status.ObservedGeneration == placement.Generation &&
		statusOf(placement.Status.Conditions, v1alpha1.ConditionDecided) == string(metav1.ConditionTrue)
}

func (m Moment) state(fleet Fleet, cluster *v1alpha1.MemberCluster, held *v1alpha1.MemberPackage, leaving bool) ClusterState {
	s := ClusterState{Cluster: v1alpha1.ClusterName(cluster.Name), Package: held}
	if !m.IsConnected(cluster) {
		s.State, s.LastSeen = Unknown, cluster.Status.LastSeen
		s.Message = m.silence(cluster, held)
		return s
	}
	s.State, s.Message = progress(held, leaving)
	if held == nil && !leaving && fleet.Package.Status.Release == "" {
		s.Message = "there is no release that it could be told"
	}
	if s.State == Ready && !fleet.current(held) {
		s.State, s.Message = Progressing, "it still holds "+held.Release
	}
	return s
}

// current says whether what a cluster holds is the current Release, or the same content under another name.
func (f Fleet) current(held *v1alpha1.MemberPackage) bool {
	if want := f.Package.Status.Release; want == "" || held.Release == want {
		return true
	}
	return f.Release != nil && slices.ContainsFunc(f.Release.Spec.Variants, func(v v1alpha1.Variant) bool { return v.Digest == held.Digest })
}

// silence says why nothing is known of a package on a cluster, and what was known last.
func (m Moment) silence(cluster *v1alpha1.MemberCluster, held *v1alpha1.MemberPackage) string {
	why := "the cluster is not connected"
	switch seen := m.LastSeen(cluster).Text; {
	case !m.fresh():
		why = "the hub is not heard of"
	case seen != "":
		why += ", last seen " + seen
	}
	if held == nil {
		return why
	}
	return fmt.Sprintf("%s; it was %s then", why, held.Phase)
}

// progress says how far a connected cluster is.
func progress(held *v1alpha1.MemberPackage, leaving bool) (State, string) {
	switch {
	case leaving && held == nil:
		return Removing, "it holds nothing of it"
	case leaving || held != nil && held.Phase == v1alpha1.PackageRemoving:
		return Removing, cmp.Or(held.Message, "its objects are being pruned")
	case held == nil:
		return Progressing, "it has not reported yet"
	case held.Phase == v1alpha1.PackageFailed || len(held.Failures) > 0:
		return Failing, held.Message
	case held.Phase == v1alpha1.PackageApplying:
		return Progressing, held.Message
	case !settled(held):
		return Progressing, cmp.Or(held.Message, fmt.Sprintf("%d of %s %s not healthy yet", held.Objects-held.Healthy, v1alpha1.Counted(held.Objects, "object"), v1alpha1.Agreeing(held.Objects-held.Healthy, "is", "are")))
	case held.DeletesHeld != nil:
		return Progressing, held.DeletesHeld.Describe(held.Release) + "; " + v1alpha1.ApproveDeletes(held.Package)
	}
	return Ready, held.Message
}

// settled says whether a package is applied and healthy.
func settled(held *v1alpha1.MemberPackage) bool {
	return held.Phase == v1alpha1.PackageApplied && held.Healthy >= held.Objects && len(held.Failures) == 0
}

func find(cluster *v1alpha1.MemberCluster, key v1alpha1.PackageKey) *v1alpha1.MemberPackage {
	i := slices.IndexFunc(cluster.Status.Packages, func(p v1alpha1.MemberPackage) bool { return p.Package == key })
	if i < 0 {
		return nil
	}
	return &cluster.Status.Packages[i]
}

// HeldState says how far the cluster is with a package, from what the cluster alone says.
func (m Moment) HeldState(cluster *v1alpha1.MemberCluster, held *v1alpha1.MemberPackage) (State, string) {
	if !m.IsConnected(cluster) {
		return Unknown, m.silence(cluster, held)
	}
	return progress(held, false)
}

// Held returns the state of a package on every cluster whose status lists it, sorted by name, from what the clusters say alone.
func (m Moment) Held(key v1alpha1.PackageKey, clusters []v1alpha1.MemberCluster) []ClusterState {
	states := []ClusterState{}
	for i := range clusters {
		cluster := &clusters[i]
		held := find(cluster, key)
		if held == nil {
			continue
		}
		s := ClusterState{Cluster: v1alpha1.ClusterName(cluster.Name), Package: held}
		s.State, s.Message = m.HeldState(cluster, held)
		if s.State == Unknown {
			s.LastSeen = cluster.Status.LastSeen
		}
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b ClusterState) int { return cmp.Compare(a.Cluster, b.Cluster) })
	return states
}

// Cell returns a state as a cell.
func (s State) Cell() output.Cell {
	tones := map[State]output.Tone{Ready: output.Good, Failing: output.Bad, Unknown: output.Doubtful}
	return output.Cell{Text: string(s), Tone: tones[s]}
}

// Repaired tells of an object that was put back: "Role shop/pod-reader: Deleted, put back 3s ago".
func (m Moment) Repaired(repair *v1alpha1.Repair) string {
	if repair == nil {
		return ""
	}
	return fmt.Sprintf("%s: %s, put back %s", repair.Object, repair.Cause, output.Ago(repair.Time.Time, m.Now))
}
