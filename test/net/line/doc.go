// Package line answers: how does Umbel fare on a bad line? It is a line of packets between two network namespaces that a
// test makes as bad as it likes, with the kernel's real TCP at both ends.
//
// tc netem does the same where the kernel has it (sch_netem); this needs /dev/net/tun alone:
//
//  1. New makes a TUN device at each end: one stays in the namespace of the caller, the other goes into that of a process.
//  2. A packet that comes out of one device goes into the other: after its turn at the line's bandwidth, behind the
//     packets that wait before it, and after the latency. What does not fit into the queue is dropped, as are packets at
//     random, by the seed, and all packets while the line is cut.
//
// It needs CAP_NET_ADMIN, which root has. It is for tests alone.
package line
