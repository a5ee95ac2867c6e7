// Package kubeconfig answers: how does somebody's own kubectl reach the members? It is the verb `umbel kubeconfig`.
//
//  1. List the MemberClusters, and ask the hub for its door (package route).
//  2. Merge a context, a cluster and one user into the kubeconfig that `kubectl config` would write to. With --prune,
//     take out what led to clusters that have left.
//  3. Write it, whole or not at all, readable by this user alone.
//
// Laws, with their reasons:
//
//   - What is ours is told by where it leads: a cluster whose server is behind this hub's door. Nothing else is
//     changed or taken out, and a name that something else has is refused: the file is the person's.
//   - Only a cluster that the hub does not know is pruned: a list that failed, or a selector, takes nothing out.
package kubeconfig
