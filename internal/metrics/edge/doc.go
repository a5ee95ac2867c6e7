// Package edge answers: what of all that a cluster could tell is sent to the hub?
//
// It decides only. A profile names, for each job, the metrics that are kept and by which of their labels: a counter that an API server has
// in a thousand series, one for each resource, is summed up by two labels to thirty. What is not kept is
// dropped while it is read, line by line, so that it costs no memory.
package edge
