package wire

// What an agent may know of, and one of an earlier version does not. The hub tells a cluster nothing that its agent does not know
// how to carry out: it waits until the agent is of a version that does. Something is named here when an agent without it could
// only fail.
const (
	// FeaturePlans: it changes no more than Policy.planned says.
	FeaturePlans = "plans"
	// FeatureAccounts: it acts as whom Policy.acts_as names.
	FeatureAccounts = "accounts"
	// FeatureLevels: it writes nothing while its cluster is observed.
	FeatureLevels = "levels"
)

// Features are what an agent of this version knows of.
func Features() []string { return []string{FeatureAccounts, FeatureLevels, FeaturePlans} }
