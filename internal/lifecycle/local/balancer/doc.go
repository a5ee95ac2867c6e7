// Package balancer answers: where do Services of type LoadBalancer get addresses that answer from outside of their cluster?
//
// The answer to "how" is MetalLB (docs/adr/0075): its controller gives each such Service an address out of the cluster's pool, and its
// speakers, one on each node, agree on the node that says to the neighbours of the bridge that it is its own. Package balancer is what
// is ours of it, and decides only: which pool a cluster has, and how MetalLB's own manifest reads on machines that pull nothing. It reads
// and writes nothing; package local keeps the pool and applies the objects.
//
// Laws, with their reasons:
//
//   - A pool is in the half of the bridge's network in which no machine is. So it is reached from the computer, and from all machines,
//     without a route to anywhere, and never hides a machine.
//   - No address is in two pools: two clusters would both answer for it.
//   - MetalLB's manifest is its makers'. What is changed of it is listed in one function, each with its reason.
package balancer
