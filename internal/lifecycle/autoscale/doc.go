// Package autoscale answers: how many machines are the pools of a cluster to have, for the pods that wait for one?
//
// It reads the MachineDeployments of the hub that say how few and how many machines they may have, by the annotations that upstream's
// cluster-autoscaler knows pools by, and in the cluster itself, by the kubeconfig that Cluster API works with: nodes, pods, and
// PodDisruptionBudgets. It alone writes how many machines such a pool has (spec.replicas), and which of them goes. It runs beside the
// provider of clusters on the hub's machine (package hosted), for pools of every provider. An upstream autoscaler that is started in its
// place finds all that it needs, and this one leaves a Cluster alone that is paused or has no such pool.
//
//  1. Look every few seconds whether the scheduler has found no node for a pod.
//  2. Put such pods, on paper, on machines that are coming, then on new ones of the pool that holds most of them with one machine; as
//     many machines more as that takes, at most as the pool may have.
//  3. While no pod waits: a machine whose pods ask for little, and could all run on other nodes, is not needed. One that was not needed
//     for as long as its pool says goes; one at a time, the next one of a pool when the last is gone.
//
// Laws, with their reasons:
//
//   - A pool has never fewer machines than it is to have at least, nor more than at most: who pays for them has said so.
//   - What cannot be read decides nothing. With a cluster that does not answer all stays as it is.
//   - Only what may be evicted counts as movable: what a PodDisruptionBudget, a missing owner, data on the node or the annotation
//     cluster-autoscaler.kubernetes.io/safe-to-evict keeps, keeps its machine. The machine is drained by Cluster API all the same.
//   - What is remembered (since when a machine was not needed) may be lost: then it only takes longer.
//   - A pod that new machines did not help twice gets no third one: what it waits for is something else, and is said.
package autoscale
