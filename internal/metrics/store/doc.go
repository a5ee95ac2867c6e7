// Package store answers: what did the fleet measure, and how much of it may one cluster bring?
//
// It is Prometheus' time series database in a folder of the hub, and alone writes to it. What an agent sends is kept, or refused for
// good, or to be sent again later:
//
//  1. Whose it is says the caller, from the session: it becomes the label cluster, whatever the series says itself.
//  2. A cluster has a budget of samples per second, and one request at a time; beyond it is told when to come again (429), and loses nothing.
//  3. A series is refused that is none (no name, labels too long), or is one too many of its cluster; a sample that is of a
//     later time than now, or too old. The rest of the request is kept.
//  4. It is answered when the write-ahead log has it: from then on a hub that is killed has it after its start.
//
// Laws, with their reasons:
//
//   - What limits a cluster is counted for that cluster alone. Series are counted by the database's own callbacks, so that a
//     restart forgets none.
//   - A request whose body is on its way takes no place from one that is there: lines are slow, and who has a member's key may send half of one.
//   - Nothing that was kept is refused at the start: limits hold for who sends.
//   - A sample of a later time would move the whole database there, and what others measure now would be too old.
//   - What an agent kept while the hub was away is older than what others sent meanwhile, and is taken (Late).
//
// The log is not synced to the disk with each request: who kills the process loses nothing, who cuts the power may lose the last seconds.
// What the hub knows itself (Say), and what rules make of it all, is written past these limits, under names that no agent may use.
//
// Left to others: how a request is read (package request), who asks (package gateway), answers (package query).
package store
