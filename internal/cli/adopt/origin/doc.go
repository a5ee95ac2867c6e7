// Package origin answers: what does somebody else manage on a cluster, from which source, and how is that one stopped without a loss
// and started again as it was? A file for each of those whom Umbel takes over from.
//
// Laws:
//   - What Umbel has no word for is said, by field (Managed.Lacks): nothing is left out silently.
//   - Who is stopped deletes nothing, by its own documented means, and what was changed of it is remembered.
//   - Credentials are not copied: which Secret has to be made on the hub is said.
package origin
