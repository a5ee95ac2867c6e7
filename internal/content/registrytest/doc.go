// Package registrytest answers: what does a real OCI registry say? It is for tests only.
//
// Start runs umbel-registry (tools/registry), which is the reference implementation with none of its clouds, as a process on
// loopback: open to everybody, behind a password, or behind tokens that another server gives for one, as the large public
// registries have it. Nothing of the registry is faked; the server of tokens is played here, since each company has its own.
package registrytest
