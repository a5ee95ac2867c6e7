// Package enrol answers: how does a cluster that Cluster API made become a member of the fleet by itself?
//
// It reads Clusters of Cluster API whose annotation umbel.dev/join asks for it, whoever made them and wherever they are, and the
// Secret with a kubeconfig that every provider of a control plane keeps. It alone writes the MemberClusters that stand for them,
// with their labels, and puts the agent into the new cluster. What an agent is made of, and given, is here for `umbel join` too.
// It runs beside the provider of clusters on the hub's machine (package hosted).
//
//  1. When the API of such a Cluster has served: make the MemberCluster of its name, which says which Cluster it is.
//  2. Give it the Cluster's labels, and keep them as the Cluster has them; others that somebody set stay.
//  3. Install the agent with a token for one use, unless one is there that can still come.
//  4. When its control plane was restored, and its agent does not come back: look whether it still has the key that the hub knows. Where it
//     has not, take that back and install the agent anew.
//  5. When Cluster API has ended the cluster: forget the member. Until then the Cluster stays.
//
// A Cluster that does not ask for it may be a member all the same: `umbel cluster adopt` made one of it. That has the Cluster's labels kept as in
// step 2, and nothing else is done: no finalizer, no agent, and whoever takes the member out has it gone.
//
// Laws, with their reasons:
//
//   - A member of that name that is not this Cluster is left alone: two clusters would share one place in the fleet.
//   - The kubeconfig is used here, for this, and goes nowhere else. The agent has a key of its own, as every member's.
package enrol
