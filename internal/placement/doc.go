// Package placement answers one question: which clusters?
//
// It reads Placements and MemberClusters and alone writes Placement.status: the sorted names of the clusters that the
// spec selects, those that leave soon, those of which it cannot be told, and the conditions Decided and Satisfied. Packages
// read that status; they never evaluate a selector themselves.
//
//  1. A change of a cluster is compared with the last decision of each Placement (book), which takes under a microsecond for
//     each. Those that it may make a wrong one are decided again, and no other.
//  2. Decide, purely (package decide): of the clusters that changed where everybody's place is its own, of those in line for a
//     seat where a number of them is asked for, and of all clusters where nothing is remembered.
//  3. Write what differs from what stands in the status, and no more: of ten thousand names the one that came.
//  4. Show the decision as PlacementDecisions of SIG-Multicluster (package publish).
//
// Laws:
//   - What cannot be decided selects what it selected before. A spec that is invalid leaves the last decision in place, sets
//     Decided to False and names the field, since "no cluster" would have every member prune. A cluster of which it cannot
//     be told keeps what it holds.
//   - Nothing is decided from a status that is older than what was written last.
//   - What is remembered only saves work: without it, all clusters are looked at, and the answer is the same.
//
// What follows from a decision, on which cluster and when, is up to delivery. It runs in the hub.
package placement
