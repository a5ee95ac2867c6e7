// Package quorum answers: how does a control plane get the members that it is to have, and keep what it holds while they come, go and
// are lost?
//
// It looks at the places where members are (Places, which package local has of machines) and asks etcd who its members are. It alone
// changes etcd's list of members. Keep does one step after another, and looks again after each:
//
//  1. the first member begins, once in the life of a control plane
//  2. a member that does not run is started, with its data
//  3. a member that has lost its data, or cannot open it, is taken off etcd's list, and let in again as a new one: as a learner,
//     which counts for nothing until it has caught up
//  4. members that are missing are let in, one after another
//  5. members that are too many are taken off, and end
//
// Laws, with their reasons:
//
//   - One member at a time, and none is taken off or let in unless a majority answers: what was acknowledged is with a majority.
//   - A member without data never starts as who it was. It would vote, and know nothing of what it has promised.
//   - A control plane begins once. When no member has its data any more it is said, and nothing is begun anew: an empty one would
//     have the cluster's nodes end all that runs on them.
//   - A member that is to run another build ends only while all others are ready (Renew).
//   - Each step may be cut off by a kill, and is found half done by the next look.
package quorum
