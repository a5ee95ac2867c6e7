// Package publish answers: how do programs that know nothing of Umbel learn which clusters a Placement selects?
//
// It reads Placement.status and keeps PlacementDecisions of SIG-Multicluster (multicluster.x-k8s.io, KEP-5313) beside each
// Placement, of a hundred clusters each at most, which refer to the ClusterProfiles that package profile keeps. It alone
// writes those, and no others: the label app.kubernetes.io/managed-by says which are ours.
//
//  1. Where the Placement was decided, compare what its PlacementDecisions say with its status.
//  2. Take out who left, put who came where there is room, and write the objects that differ. So a change of one cluster is
//     one write, also where ten thousand are selected.
//  3. Where the Placement withholds them (spec.decisions), or is gone, delete them.
//
// A Placement that was never decided has none; one that selects no cluster has one that is empty. It runs in the hub.
package publish
