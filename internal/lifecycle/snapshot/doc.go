// Package snapshot answers: where are snapshots of clusters kept, are they what was put there, and when is the next one due?
//
// It reads and writes targets: folders of this computer, S3 and OCI registries. It takes and restores nothing: that is package local's,
// and who asks for it is package hosted. The backup of the hub itself is another thing (internal/backup).
//
//  1. Open makes a Store of a target, for one cluster: of others it neither sees nor changes anything.
//  2. Put brings a snapshot there, and what is said of it (Snapshot) last: what is not said was not finished, and is not listed.
//  3. Fetch brings it back, and fails unless size and SHA-256 are what was said.
//  4. Due and Surplus say when to take the next one, and which are too many.
//
// Laws, with their reasons:
//
//   - A snapshot is there whole or it is not listed: whoever takes it may be killed at any moment.
//   - What was fetched is not used before its checksum is verified; a file that does not agree is removed.
//   - Nothing that a target says of itself leaves as an error with a credential in it: errors end up in a status.
//   - The newest snapshot is never surplus, and nothing is deleted before a newer one is there.
package snapshot
