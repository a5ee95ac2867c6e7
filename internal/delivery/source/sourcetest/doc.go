// Package sourcetest answers: what do real servers of content say? It is for tests only.
//
//  1. Git repositories are made by the git program, and served by it behind HTTP and HTTPS, and over ssh. git has to be on the PATH.
//  2. A Registry is the reference implementation of an OCI registry (package registrytest); what is pushed there is pushed by oras'
//     client.
//  3. Charts are packed, pushed and indexed by helm (`make helm`), and a Helm repository is its folder behind a file server.
//  4. Conformance holds a source.Reader against what every kind of source has to do, on such a server.
//
// What cannot be had is played, and says so: cosign.
package sourcetest
