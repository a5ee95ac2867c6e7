// Package about answers: what does a cluster say of itself, to tools for many clusters?
//
// It says it in the About API of SIG-Multicluster (KEP-2149): objects of the kind ClusterProperty, each a name and a value.
// The agent alone writes these, by the Keeper:
//
//	cluster.clusterset.k8s.io  the member's name in the fleet
//	clusterset.k8s.io          the fleet's name, as its hub says it
//	certificates.umbel.dev     when the first certificate ends by which the cluster is reached, and whose it is (package expiry)
//
// and reads all of them. In order:
//
//  1. Install the kind, where the cluster has none.
//  2. Watch the objects. Plan what is to be written, and write it.
//  3. Tell the hub of all of them that fit, when that changed, at most once in ten seconds.
//  4. When the member leaves the fleet: delete what is ours, and the kind, if it is ours and nobody else uses it.
//
// Laws, with their reasons:
//
//   - What somebody else made is theirs: a kind that is there is never changed, nor is a property without our label.
//     Clusters have been in other fleets before, and two writers that each put their own value back never end.
//   - The fleet's name is written when a hub has said it, and stays while none does: not to know it is not to have none.
//   - In a cluster that is observed nothing is written: the hub is told what would be, with what stands there.
//   - What cannot be written is tried again, and stops nothing else that an agent does.
//
// What becomes of the properties on the hub is up to package gateway/members (the status) and package profile. It runs in
// the agent.
package about
