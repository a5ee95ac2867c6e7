// Package top is `umbel top`: how busy the fleet's clusters, nodes and pods are, as kubectl top says it of one cluster.
//
// It asks the hub in PromQL for what agents measured in the last five minutes (package measured), and puts it beside the clusters that there
// are (plan.go): one that does not measure has its row, and says so.
package top
