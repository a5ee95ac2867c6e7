// Package preview answers: what would become of a member's objects if it held this content of a Package?
//
// It asks the member's own API server, as whoever is curious:
//
//  1. Which kinds are there?
//  2. Of each object of the content: how is it now, and how would it be after the agent's server-side apply? The API
//     server says both, the second as a dry run with defaults, admission and the fields of other managers, so that the
//     difference is what a watch would see, and nothing that only looks like one.
//     Fields that others have taken since are taken back as the agent does it: when it had sent them, which it knows itself, and others
//     by the release that the member holds.
//  3. What carries the Package's label and our fields, of any kind, or is in the release that the member holds, and is not in the
//     content? That would be pruned.
//
// Laws:
//   - Nothing is written: what is not a read is a dry run.
//   - What could not be looked at is said (Preview.Unknown, Change.Problem), and never left out as if it were not there.
//   - The values of Secrets are not shown, only that they differ.
//
// An object that was there before the agent is let go, not deleted; only the agent knows which those are, and others are told where it may
// be so.
//
// The verb `umbel plan` puts the previews of many members together.
package preview
