// Package scope answers: who may do what on which clusters, and what follows from that?
//
// It reads Scopes, and the Placement and the Package that it makes of each. It alone writes Scope.status, and what follows
// from a Scope on the hub. What follows on members it does not write: it says so to package delivery, in a Package, so that
// bindings are applied, repaired, reported and pruned as everything else is.
//
// For each Scope, when it, or anything that it made, changes:
//
//  1. Make a Placement of its selector and a Package of its bindings, both called scope-NAME in umbel-system.
//  2. When the Placement is decided, let the people through the hub to the clusters that it selects: a ClusterRole that
//     names them, or is for all of them where the selector is, and a ClusterRoleBinding. While very many are selected, what
//     changes within a second is done at once.
//  3. Write the status once, from those two.
//
// When a Scope is deleted, the way through the hub is closed first; then the Package is deleted, and with that every
// member lets go; then the Scope goes. Members that are away are named, and the annotation umbel.dev/force-delete lets the
// Scope go before them: the Package waits on.
//
// Laws:
//   - Nothing is taken away that nobody decided: while the Placement is not decided for the Scope's selector, who may reach
//     which cluster stays as it is, here and there.
//   - No cluster more than the selector names. No cluster at all is a role without rules: one with a rule that names no
//     object allows all of them, which is for an empty selector alone.
//   - What is somebody else's under a name that a Scope needs is not touched.
//   - What a person changes of what a Scope made is put back.
//   - The bindings of two Scopes never meet: their names have the Scope's in them, and the role's, since that of a binding
//     cannot be changed.
//
// Who may write a Scope is the business of the API's RBAC, and of the admission policy in deploy/policies: whoever does needs
// the verb bind for the role. It runs in the hub.
package scope
