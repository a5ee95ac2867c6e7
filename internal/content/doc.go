// Package content keeps bytes by digest: where is the rendered content of a Release, and where does a member get it?
//
// Content lives in an OCI registry. Four things are here:
//
//   - Registry is the embedded one: an http.Handler over a folder.
//   - Remote is any other that speaks the OCI distribution protocol. Several replicas of a hub share one.
//   - Store is the client of a registry: it pushes and pulls blobs, and verifies every byte that it pulls. The hub
//     pushes with it, an agent pulls with it through its tunnel.
//   - Image makes container images of one static binary, so that members get Umbel's own images from the hub.
//
// How a blob is pushed:
//
//  1. The blob itself, unless the registry has it already in its full size.
//  2. A manifest that refers to it (artifactType application/vnd.umbel.release.v1), under a tag made of the blob's
//     digest. A registry drops blobs that no manifest refers to, and some drop manifests that no tag refers to.
//
// Both steps give the same bytes for the same content, so that a push may be repeated after a crash at any instant.
//
// Laws:
//   - What was pushed is on the disk when Push returns: the Release that names it outlives a power cut, so must it.
//   - What is pulled is verified against its digest and bounded in size before anybody reads it.
//   - Nothing is dropped that a manifest refers to; a manifest goes only by Store.Delete.
//
// Who may push and pull is not decided here: see package gateway. What the bytes mean is not known here: see package
// bundle. This package runs in the hub and in agents.
package content
