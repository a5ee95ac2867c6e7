// Package decide answers: what is each cluster told of a Package, and how far is it?
//
// It reads nothing and writes nothing: what is seen of a Package (Seen), of clusters (Cluster, and Member with what it says of the
// Package) and the time go in; what a cluster is told, and the conditions of the Package, come out. The same in gives the same out. Hub
// and command line share it.
//
//  1. Seen is put together of what others wrote: the Placement, the Release and, where there is a strategy, what a Rollout says (Staged).
//     Whose the Package is (Team), what people have seen of a change (Plans) and how agents are to treat it (Policy) belong to it.
//  2. Of that follows who keeps it although nobody selects them (Withhold), and who waits, for another Package, a Plan or an agent of a later
//     version (EveryWait).
//  3. Assign says of one cluster what it is told: to hold a variant of a Release, to remove, or nothing. Clusters whose values of the
//     Release's variables are the same get the same variant (Classes, VariantFor). Message and MessageFor put it in the words of the wire.
//  4. Members that say what they hold are counted by state, and each condition is made of what follows from that: Placed,
//     Delivered, Deleting, Dependencies, Planned, Agents, Contested.
//
// Laws:
//   - Unknown is never empty: Remove takes a Placement that is decided for its current spec and does not select the cluster, or a
//     Package that is being deleted. In every other case that is not a clear delivery the answer is Keep. A fuzz test tries to
//     break this.
//   - A selector with a typo reads just like a decision: more clusters than the budget allows do not lose a Package at once
//     without somebody's word for this very Placement.
//   - Waiting takes nothing away. The way back to a Release that was there waits for no other Package and for no Plan.
//   - A cluster whose agent does not know what the Package takes keeps what it holds: it would carry out the part that it understands.
//   - The last word of a cluster that is away may be out of date: nothing is called delivered, or healthy, by it.
//   - No order of the input matters, and no clock: messages are sorted, and the same state gives the same text.
//
// How what is decided here comes about, and what becomes of it, is up to package delivery.
package decide
