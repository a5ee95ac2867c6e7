// Package scrape answers: what does this cluster measure?
//
// Every round (edge.Every) it asks the member's API servers for their metrics, and through one of them each node's kubelet and
// cAdvisor; it reads what a few kinds of objects say (state.go), a page at a time, and keeps none. What is
// kept of that (package edge) goes to the queue in requests of at most 5,000 samples.
//
// What to measure says the hub, in session. It is kept in a file, so that an agent that is started while the hub is away goes on.
// A source that cannot be asked costs its own series alone, and shows as up 0. API servers, nodes and pods are asked some at a time; those that did not
// answer in the round before are asked after all others, and one that hangs leaves its place to another (places.go). Pods whose monitor has an interval of its own
// are asked beside the round (turns.go), which they do not wait for.
//
// What the round before had, and this one has not, is marked as ended (end.go), as Prometheus' own scrape does: a pod that is gone is not found for five minutes
// more. What could not be listed is not gone: it is not up.
package scrape
