// Package adopt answers: how does a cluster move in that somebody else manages, and how does it move out again? It is the verb
// `umbel adopt`: the objects stay the same ones, nothing in their specs is written, and nobody fights over them on the way.
//
//  1. Read what the other manages (package origin), on the member, through the hub and as whoever runs the command.
//  2. Make the Package of it, render that here with the hub's own code, and ask the member by dry runs what would become of each object
//     (package member). plan.go decides: the objects have to be the same ones, and every one has to stay as it is.
//  3. Show that, and ask. Then, in this order:
//     a. the Package and a Placement that selects no cluster yet go to the hub, and the member keeps a note of how the other was;
//     b. the other is stopped, by its own means: it writes and deletes nothing any more;
//     c. the Placement selects the cluster; the agent applies what is there already, which adds a label and its own entry in
//     managedFields;
//     d. the other's entries go (package owner), so that Umbel can take a field away later, and each object notes whose it was.
//
// The way back goes through the same steps, the other way round: the entries are given back, and each object is told to stay when it
// leaves; the Placement does not select the cluster any more; the agent lets go; the other is made again what it was.
//
// Laws:
//   - Nothing is changed before the plan is whole, and nothing by a command that was not told to go on.
//   - Two do not write the same objects at the same time: the other is stopped before the agent begins, and started when it has let go.
//   - No object is deleted, at whichever step this ends: each may be repeated, and `umbel adopt back` begins at any of them.
//   - What is on the way is on the hub, on the member and on the objects, not with whoever runs the command.
package adopt
