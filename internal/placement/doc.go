// Package placement answers one question: which clusters?
//
// It reads Placements and MemberClusters and alone writes Placement.status: the sorted names of the clusters that the
// spec selects, and the condition Decided. Packages read that status; they never evaluate a selector themselves.
//
// For each Placement that changed, and for each whose answer a change of a cluster's labels touches:
//
//  1. Select the clusters whose labels match. Clusters that are being deleted are left out.
//  2. Write the names, when they or the conditions differ from what stands there.
//
// Law: what cannot be decided selects what it selected before. A selector that is invalid leaves the last decision in
// place, sets Decided to False and names the field, since "no cluster" would have every member prune.
//
// What follows from a decision, on which cluster and when, is up to delivery. It runs in the hub.
package placement
