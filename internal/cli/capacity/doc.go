// Package capacity is `umbel capacity`: how much of the fleet is requested, used, and left, and about what that costs.
//
// It asks the hub in PromQL for what agents measured (package measured), adds it up by cluster, namespace or team, and puts a price to it, where
// there are prices (plan.go). It is an estimate: what is requested or used, whichever is more, times what the table says of such a cluster.
package capacity
