// Package identity answers: who is asking, and how does it prove it?
//
// It holds the certificate authorities (CA) of a control plane and of the fleet's members, and what they issue. It
// reads and writes only the files that a caller names; it knows no Kubernetes API.
//
// Laws, with their reasons:
//
//  1. One kind of key everywhere: ECDSA P-256. It is made in microseconds and every TLS stack accepts it.
//  2. A private key is written once, readable by its owner only, before the certificate that names it: a crash between
//     the two leaves no certificate without its key.
//  3. A CA that is there is never replaced at once: what it issued would be worth nothing. A damaged one is an error. The
//     fleet's goes by rotation (package gateway/trust), where the old one endorses the new one.
//  4. Every certificate starts in the past, because clocks differ: five minutes, and two days where an agent has only its
//     own clock to judge by. Each has a random serial of 127 bits.
//  5. A certificate is renewed between a half and three quarters of its life, by lot, so that a fleet that was issued at
//     once does not renew at once. How long is left is counted from when it came, not from what the clock says.
package identity
