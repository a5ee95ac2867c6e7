// Package adopt moves in with what others manage, and out again: a hub, a member with its agent, and real manifests, 1,000 objects at a
// time. What writes the objects at first is what writes them in real clusters, where that can be had: kubectl itself, and the engines
// of Flux, Argo CD and Config Sync. Each test says what stands in for a controller.
package adopt
