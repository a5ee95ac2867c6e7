// Package metrics answers: what does the fleet measure, and how is that asked for?
//
// It is the room around its parts, in the order in which a sample passes them:
//
//	edge/     what of a source is kept, and how is it cut down?    (agent; decides only)
//	scrape/   asks the member's API server, kubelets and objects   (agent)
//	queue/    keeps on the agent's disk what the hub has not taken (agent)
//	request/  how samples are written down on the way              (both)
//	store/    keeps them on the hub, within limits of each cluster (hub)
//	spread/   has the hub's other replicas have them too       (hub)
//	query/    answers Prometheus' HTTP API from there              (hub)
//	facts/    adds what the hub knows, and no cluster can send     (hub)
//	rules/    computes and alerts from all of it                   (hub)
//	notify/   tells of alerts                                      (hub)
//	onward/   writes it on to other stores                         (hub)
//	settings/ where do alerts go, and what is written on?          (hub)
//
// Laws, with their reasons:
//
//   - What was measured while the hub was away is sent when it is back: the agent forgets a sample when the hub has said
//     that it is kept, or that it never will be.
//   - Whose sample it is follows from the session that it came through, never from what it says.
//   - A cluster that sends too much, or from another time, harms itself alone.
//   - An agent keeps no object in memory between two rounds, and of series the requests of the last round as they were sent, some bytes for each: by them it
//     says what has ended.
package metrics

// WritePath is where an agent sends what it measured to, through its session: a request of Prometheus' remote write 2.0.
const WritePath = "/api/v1/write"
