// Package delivery answers: what is each cluster to hold of each Package, and how far is it?
//
// It reads Packages, Placement.status, MemberCluster labels and status, and sources (package source); of a Package that has a
// strategy also its newest Rollout, in which package rollout says which Release each cluster gets. It alone writes Package.status and Releases, and the content of Releases in the OCI registry (package content). What a
// member is to hold it answers to the gateway, which never asks for more than one cluster at a time (Desired).
//
// For each Package, on each occasion (its spec, its Placement, a commit, a cluster's labels, status or connection):
//
//  1. Observe the Placement, the current Release and the clusters.
//  2. Publish what that means, before anything that can fail.
//  3. Fetch the source, in the background, when it is due or asked for. What stands in the Package itself is there.
//     What has to be signed and is not, by somebody who may, is not used, and a Release that it was made of is not told.
//  4. Render the commit once per class of clusters: those whose labels give the variables of the manifests the same
//     values, and push what is new by digest; in the background, a few Packages at a time (renderings.go). What the current
//     Release has already is not rendered again.
//  5. When that has ended, create a Release of it, which never changes, sealed. Publish again. A Release that this hub did
//     not seal is told to nobody.
//  6. Count the clusters by state, and write the status once.
//
// Laws, of which the first three are kept by package decide, where all that clusters are told, and all that is said of it, is decided
// purely. What is here reads what that takes, and acts:
//   - Unknown is never empty: a cluster is told to remove a Package when a Placement, decided for its current spec, does
//     not select it, or when the Package is being deleted. In every other case that is not a clear delivery it keeps
//     what it holds.
//   - One bad cluster blocks nobody: a cluster that lacks a label, is offline or fails is counted and named.
//   - A cluster that leaves the fleet keeps what it holds; what becomes of that is the gateway's to say.
//   - A deleted Package stays until no cluster lists it in its status: a cluster is listed before it is told to hold a
//     Package and until it says that it does not, so one that was cut off before it could report is not forgotten.
//   - A failure to fetch or to render leaves the last Release in place, for old clusters and new ones.
//   - The same inputs make no write: a Release's name is made of its content, a status is written when it differs.
//   - What a Release refers to is in the registry, on the disk, before the Release is created.
//
// How a member applies what it is told is in package apply, which cluster is selected in package placement. It runs in
// the hub.
package delivery
