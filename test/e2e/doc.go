// Package e2e tells the stories of Umbel on real clusters: the main job, and each law with an attempt to break it. The
// tests have the build tag e2e, need the binaries of `make build`, and root for clusters with nodes.
package e2e
