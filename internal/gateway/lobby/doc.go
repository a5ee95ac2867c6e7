// Package lobby answers: how many connections may wait at the hub's door before anybody knows who they are?
//
// A connection enters when it is accepted, and leaves when whoever is at its other end is known, or when it ends. Before
// that it may be a stranger's that says nothing, slowly, or far too much; there are as many of those as somebody likes to
// open. So, in order:
//
//  1. The lobby has room for so many. Whoever comes when it is full waits in the kernel's queue.
//  2. When nobody leaves by himself, one is thrown out: of the address that has most connections here, the one that is here
//     longest, once it has been here longer than honest ones take. One address that floods pays with its own, and behind a
//     load balancer, where all have one address, the ones that do nothing pay.
//  3. What a connection may send is bounded as long as nobody knows who it is.
//
// It knows no TLS, no agents and no people. Runs in the hub.
package lobby
