// Package rollout answers: in which order do the clusters of a Package get a new Release, or Kubernetes, how fast, and when does that stop?
//
// It reads Packages that have a strategy (spec.rollout), their Releases, Placement.status and what the clusters say of the
// Package (MemberCluster.status). It makes Rollouts and alone writes their status; people write in their spec whether they
// go on. What a Rollout says each cluster is told (v1alpha1.Rollout.Orders) package delivery tells it. It runs in the hub.
//
// Rollouts about Kubernetes are made by people, and go the same way (kubernetes.go), each for itself: what is seen of the clusters is
// MemberCluster.status.lifecycle, and package lifecycle/ascent brings those to the version that were moved.
//
// The rollouts of a Package are a chain, of which the newest counts (chain.go):
//
//  1. A new Release of the Package, or a way back, closes the newest one in its status, then makes the next. Its name has the
//     next number, so that two hubs that do so at once make one.
//  2. It begins (begin.go): the clusters of each stage are frozen in its status, with what they are told until they move.
//  3. Next (plan.go) is called again and again, and says which clusters move now:
//     look what became of those that were moved; heed what people want; stop, or go back, when too many failed;
//     otherwise let the stage have its turn whose it is: approval, canaries, bake, the others, bake, approval.
//  4. When all stages are done it is complete, says nothing any more of the clusters that it moved, and lets those follow
//     that were away.
//
// Laws, with their reasons:
//
//   - Next is a function of spec, status, what is seen and the time. The status is the only memory: a hub that is killed
//     between any two writes goes on where it was, and so does another one.
//   - A cluster is moved by the write of the status, and by nothing else: what delivery tells it follows from that.
//   - No more clusters are unavailable for the sake of a rollout than maxUnavailable lets be. A cluster that is not healthy as
//     it is takes its place before one that is: the one that serves is touched last.
//   - What clusters measure is asked of those that were moved (gates.go). A gate that does not hold stops others, and after a while the
//     rollout; one of which nobody knows stops others, and is no failure.
//   - Time counts while somebody looks. A bake or a deadline does not pass while no hub runs, or because a clock jumps: at most
//     a minute between two looks counts.
//   - A cluster that is not connected is told nothing, takes nobody's place and holds up no stage, but one that has no other:
//     what nobody has tried is not good. It follows when it is back. So does one that waits for something else, once it need not.
//   - A cluster that was not healthy before it was moved proves nothing against the release, and nothing for it.
//   - What failed stays stopped until somebody decides, also when it comes right: whoever stopped it may have looked away.
//   - The way back waits for no window, approval or bake, takes the clusters first that are down already, and ends: whoever
//     does not come right in time is left behind and named.
//   - A cluster whose Kubernetes is under way and whose agent is not connected is not away: it has to come back, or it has failed.
//   - A status is written once a second at most, whatever its clusters say.
package rollout
