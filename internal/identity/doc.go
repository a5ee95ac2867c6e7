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
//  3. A CA that is there is never replaced: what it issued would be worth nothing. A damaged one is an error.
//  4. Every certificate starts five minutes in the past, because clocks differ, and has a random serial of 127 bits.
package identity
