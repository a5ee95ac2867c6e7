// Package expiry answers: when does the first certificate end by which a cluster is reached?
//
// It runs in a member's agent. It reads the cluster's CA and what the agent itself logs in with, where that is a certificate. It asks the API
// server for its serving certificate, and each kubelet that it can reach for its own, by a TLS handshake in which nothing is sent. It writes
// nothing: what it finds becomes a property of the cluster (package about), which the hub shows and warns by.
//
//  1. Look at what the agent has, at the API server, then at kubelets: of a large cluster at a hundred of them.
//  2. Tell the one that ends first, and whose it is, when that is another one than before.
//  3. Look again after an hour, or after a minute when something could not be asked.
//
// Laws, with their reasons:
//
//   - A kubelet that cannot be reached is left out, and is no error: in many networks only the API server reaches kubelets.
//   - What is known only in part is told once, and does not take the place of what was known before.
//   - A certificate that is not valid is read all the same: one that has ended is what is looked for.
package expiry
