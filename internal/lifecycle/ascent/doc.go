// Package ascent answers: how does a cluster that the hub makes get to another version of Kubernetes?
//
// It reads Clusters of Cluster API, their classes and pools of machines, Rollouts about Kubernetes, and what API servers count of
// deprecated APIs in use. It writes the version of a Cluster that a Rollout has moved (spec.topology.version), and alone
// MemberCluster.status.lifecycle: what packages rollout and cli know of a cluster's Kubernetes. `umbel cluster upgrade` plans with it,
// and writes the version of one cluster itself. It runs beside the provider of clusters on the hub's machine (package hosted).
//
//  1. Observe how far a Cluster is with the version that it is to have, and to which ones it can be brought.
//  2. Of the Rollouts that have moved it, the one with the next version counts (Ordered): a cluster goes up one step after another.
//  3. Plan: what would do. What would not is written down as refused, and tried again.
//  4. Ask all API servers which deprecated APIs are in use, when a minor is left; then write the version. The rest does Cluster API.
//
// Laws, with their reasons:
//
//   - An upgrade begins only where the one before has ended, and the cluster is at work: what is half is not made more so.
//   - Which cluster has its turn is package rollout's to say, and stands in the status of the Rollout. Nothing is remembered here:
//     killed between any two writes, the next one goes on.
//   - A version is written on what was read (optimistic lock): somebody who writes another one meanwhile wins, and is looked at anew.
//   - The kubeconfig is used here, for what an API server counts, and goes nowhere else.
package ascent
