// Package network answers: how do the machines of a fleet and the hub reach one another on this computer?
//
// Each fleet (one data folder) has one bridge, umbel0 .. umbel49, with a /16 of its own. The hub is at the bridge's
// address; each machine is in a network namespace that a pair of virtual Ethernet devices connects to the bridge.
// Package network makes and removes bridges, namespaces and links, through netlink. It keeps nothing on disk.
//
// Laws, with their reasons:
//
//   - Who owns a bridge is written on it: its hardware address is made of the data folder, and its alias, for people,
//     is that folder. So two fleets never share one, and what a crash left behind is found again.
//   - The settings of the host are left alone: no address translation, no forwarding, no sysctl. So a machine reaches
//     the hub and its neighbours, and nothing else; there is no default route, and what tries fails at once.
//   - A link has one end on the host, with a name that people can read: setting it down is a partition.
package network
