// Package measured asks the hub in PromQL for what the fleet measures.
//
// The hub answers what the one who asks may see: everything, or what is about the clusters that it may see by their names. Asking is all
// that is here.
package measured
