// Package upgrade answers: which agents may become another program now, and when has that to stop?
//
// It reads the AgentUpgrade, the MemberClusters that it selects, and where the hub's images are. It writes
// MemberCluster.spec.agent, which the gateway tells the agents, and the status of the AgentUpgrade. It runs on the hub. How
// one agent changes, and comes back when that goes wrong, is package upgrade/self, in the member.
//
//  1. Next sorts the clusters by where they stand: done, failed, changing, offline, waiting, left out.
//  2. A failure stops it: nobody else is told until somebody raises the attempt, asks for another build, or the cluster comes
//     right by itself.
//  3. Otherwise, when nobody changes and the last change is baked, it lets the next wave go: canaries first.
//  4. Who may go is told in spec.agent, one write per cluster and upgrade.
//
// Laws, with their reasons:
//
//   - Next is a function of the spec, of what is seen and of the time. Nothing is remembered but how many waves there were
//     and when the last began, so a hub that is killed between any two writes goes on where it was.
//   - Only a cluster that is connected is told, so one that is offline takes nobody's place, and has its turn when it is back.
//   - One that was told and is not back after a while, or is there and says nothing, has failed, for all that is known: an
//     upgrade that loses agents must not lose more of them. When it comes back the upgrade goes on. One that is suspended is
//     away by a decision, and has not failed.
//   - What an agent says of an earlier build or attempt says nothing of this one.
package upgrade
