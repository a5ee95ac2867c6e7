package v1alpha1

// Level says how far the hub goes on a cluster. Whether the hub makes and ends it, too, is not chosen but so: ManagedAnnotation says it.
// +kubebuilder:validation:Enum=Observed;Attached
type Level string

const (
	// LevelObserved: people reach it through the hub to read, its agent says what it is and measures it, and nothing is written
	// there but what the agent itself needs. What Packages put there before stays as it is: it is neither changed, nor repaired, nor deleted.
	LevelObserved Level = "Observed"
	// LevelAttached: Packages are delivered there, and people reach it to change things.
	LevelAttached Level = "Attached"
)

// Stands returns the level of the member; one whose spec says nothing is attached.
func (s *MemberClusterSpec) Stands() Level {
	if s.Level == "" {
		return LevelAttached
	}
	return s.Level
}

// Observed says whether nothing is written on the cluster.
func (s *MemberClusterSpec) Observed() bool { return s.Stands() == LevelObserved }
