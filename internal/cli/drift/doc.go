// Package drift answers: what of the fleet did somebody else change or delete, and what was done about it? It is the verb
// `umbel drift`.
//
// It reads what the clusters' agents said, as it stands in MemberCluster.status.packages: how many objects are left as
// others made them, and the latest ten of each Package and cluster. No cluster is asked, unless somebody wants to know what happened
// since a time (history.go): then the hub asks the agents for what they wrote down.
package drift
