// Package onward answers: where else is what the fleet measures kept?
//
// What the database has kept, of agents, of rules and of the hub itself, is written on to any receiver of Prometheus' remote write that the settings name
// (section remote_write), with the label cluster and its own time. For each receiver there is a folder of requests (package queue), which are sent in their
// order: while a receiver is away, they wait there, and an outage is filled in afterwards, as far as the folder goes.
//
//  1. The store hands over samples when they are kept. They are relabelled (write_relabel_configs), and put into a request, a second's worth or 5,000 samples.
//  2. A request is written to the folder, for which nobody who measures waits unless the disk has not kept up for 64 of them, and goes from there when the receiver has answered for good: kept (2xx), or never to be kept (4xx).
//
// Prometheus' own writer follows the write-ahead log, and passes over what is older than its start: what a cluster fills in after an outage of the hub would
// never arrive. It also links 74 packages, OpenTelemetry's among them.
//
// Who kills the hub loses onward what was measured in the last second; the hub itself has it.
package onward
