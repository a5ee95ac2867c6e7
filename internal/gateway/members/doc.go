// Package members answers: what does the hub know of each member, and what do people see of it?
//
// It hears what happens in sessions (Presence), keeps the latest of it in memory (Registry), and alone writes
// MemberCluster.status (Controller): conditions, versions, packages, lastSeen. The certificate endpoint of package
// gateway writes status.identity, before it hands out the first certificate.
//
// For each member, when something happened to it:
//
//  1. Take a snapshot of what is known (Facts) and of what it is to hold.
//  2. Plan computes the status from the one that is there, the facts and the time; it is pure.
//  3. What differs is written; nothing is written otherwise. Plan may name a time to look again.
//
// Safety laws, with their reasons:
//
//   - status.packages names every package that the member may hold: an agent is told to hold a package once it is named
//     there, and it is named until the agent says that it does not hold it. So nobody who deletes a Package forgets a
//     member that has it, whenever a process died or a line was cut. listing.go sees to it.
//   - Without news the last word stands: a hub that has just started knows nothing and takes nothing back until the
//     agents had time to return.
//   - A lost member keeps its packages in the status; their Synced is Unknown, not True, because nobody knows.
//   - The finalizer goes when the agent has said that it let go, when it never joined, or when a person takes it off
//     or forces it; nothing else tells that nothing is left behind.
//   - An idle member costs no write: a probe that comes back changes nothing that is stored. A noisy member is written
//     at most twice a second, with the latest only.
//   - What a member says is bounded when it is heard, and once more, all of it together, before it is stored (bounds.go):
//     details are left out, failures first, and never a package that the status lists.
//   - What is known is of one MemberCluster, by its UID. One that was deleted and made again is another: the session of the
//     former is told that it is no member, and ends.
//   - Who is kept out by the hub's people (spec.admission, spec.revokedKeys) has no session: it is ended when that is seen,
//     and the status says so from the spec alone, whatever agents did. A key that was revoked loses its place in the status.
//   - Where the hub has several replicas, one of them writes a member at a time: share.go says which, and how it is sure.
//   - A newer session of a member ends the older one; what the older one says from then on is not heard.
package members
