// Package plan answers: what would this change do to the fleet, before anything is changed? It is the verb `umbel plan`.
//
//  1. Read the Package, and what its source would be: the working tree that the command runs in, a folder, a commit of it
//     (`--ref`), or a Package in a file (`-f`).
//  2. Render it here, with the hub's own code, once for each class of the clusters that the Placement selects.
//  3. Ask the clusters, side by side and as the one who runs the command, what would become of their objects (package
//     preview): a dry run of the agent's own server-side apply.
//  4. Put clusters together for which that is the same, the most first, and write it: for people, as Markdown for a review,
//     or as JSON.
//
// Laws:
//   - Nothing is changed, here or anywhere.
//   - A cluster that was not asked, or could not be looked at whole, is named: a plan that lacks something says so, and ends
//     with code 1.
//
// plan.go decides purely what belongs together.
package plan
