// Package apply answers, on a member: what should this cluster hold, and does it?
//
// It reads the desired state that the hub sends (Engine.Store) and the content that it pulls by digest, keeps both on
// disk, and alone writes the objects of packages to the member's API server. It runs in the agent, one Engine per
// member, and needs the hub for nothing but new orders.
//
// One package is a unit. A pass of a unit goes:
//
//  1. Pull the content of the release, unless it is on disk; verify its digest; unpack it.
//  2. Hand over what it gives up and another package wants (prune.go). An object has one holder, from its first claim in
//     the index to its end; a second package is refused and touches nothing, but that the platform's goes before a team's
//     (contest.go).
//  3. Write the objects of the release into the inventory on disk, and only then
//  4. apply those that differ, by server-side apply, in stages: foundations (namespaces, definitions of kinds),
//     everything else, gates (admission webhooks and policies, which can stop others from being written).
//  5. When all of that succeeded, prune what is in the inventory and not in the release, stages in reverse.
//  6. Record the release as complete.
//
// Between passes the watches see to repair: one watch per kind that is applied, restricted to objects with the
// package label. Each event is judged (plan.go) against what was applied last; on drift the object is put back at
// once, and what was learnt goes to a journal beside the inventory. Drift is found by comparing our own entry in
// managedFields, which changes when, and only when, somebody else takes a field of ours: fields that others own are left
// alone, and there is nothing to diff or to normalise. A controller that undoes a repair again and again is a fight:
// repairs slow down and the status names the other side.
//
// What happened to objects is written down as it does (history.go): drift, and what a release deleted. Nothing is decided by it.
//
// Safety laws:
//
//   - Nothing is deleted that is not in the inventory, and nothing unless its uid is the one that was applied, because
//     a name alone may belong to somebody else by now.
//   - What is in the inventory is a superset of what may be on the member: a crash between two steps loses nothing.
//   - Never prune after a partial apply: the missing half may be what replaces the pruned half.
//   - An object that was there before us is not ours to delete: it only loses what we added. An object has the last word of
//     what becomes of it when it leaves, by a label.
//   - An object that moves between packages is never deleted on the way: nothing is pruned before it is known what the
//     other packages of the member want, and that a foundation goes takes nothing of theirs along.
//   - Fields of others are not taken: a conflict is reported with the field and its owner, unless the object asks for
//     it with the take-over annotation. Fields that were ours are taken back.
//   - Unknown is never drift: before the first list of a kind has come, nothing of it is judged.
//   - What the hub did not seal is not taken: the release before stays and is repaired, and the status says why.
//   - An order on the disk that this agent did not write is not carried out: nothing is applied or deleted because of it.
//   - A package whose order or inventory cannot be read stands still (unread.go): nothing is guessed, and nothing is pruned that it may
//     want. The others go on.
//   - What is on disk is verified by its digest before it is applied; what is damaged is pulled again.
//   - On a member that is observed nothing is written at all (observed.go).
//   - The agent's own namespace and roles are no package's.
//   - All that is read and written for a team's package is done as its ServiceAccount (acting.go), and what that may not have
//     it keeps from nobody, and hears nothing of.
//
// Folder disk keeps all that has to survive, folder member knows the API server; neither decides anything.
//
// Left to others: which packages a member gets (package delivery, on the hub), how orders and statuses travel
// (package session), who the agent is (package identity).
package apply
