// Package fleet answers: what do many members hold, of any kind that they have? It is what `umbel get` does with
// --clusters and --all-clusters; the console's search reads as much as it shows (find.go).
//
//  1. List the MemberClusters that are asked for. One whose agent is known to be gone is not asked.
//  2. Ask all others side by side, through the hub (package route) and as the one who runs the command: first which
//     kinds it has, then for the objects, printed by its API server, page by page.
//  3. Write what came as one table, or as one list, sorted by cluster, then namespace and name: a cluster's objects
//     as soon as those of all clusters before it are written.
//
// Laws, with their reasons:
//
//   - What could not be read is said, by cluster, and ends the command with code 1: a list that lacks a cluster is
//     never taken for one of a cluster that holds nothing.
//   - One bad cluster delays the others by the timeout at most, and at most inFlight of them are asked at a time.
//   - Nothing is kept, here or on the hub.
package fleet
