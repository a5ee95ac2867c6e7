// Package facts answers: what does the hub know of the fleet that no cluster can send, least of all while it is away?
//
// Twice a minute it reads the MemberClusters, Packages and Rollouts that the hub has in memory, and writes series of them (plan.go has their
// names): whether a cluster is connected, when its first certificate ends, how far packages are, which rollouts stand still, which objects are
// fought over. Rules alert on them. What is trouble decides package health, as for `umbel status`.
//
// Names and labels are the hub's: package store takes them from no agent.
package facts
