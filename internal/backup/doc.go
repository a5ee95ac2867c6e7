// Package backup answers: what makes a hub this hub, and how does it become one again on another machine?
//
// It is what the API has of it, read at one moment while the hub runs: our kinds with their status, the namespaces that hold
// them, the hub's Secrets and ConfigMaps (the CA that every member trusts is one), its rules, accounts and roles; and beside the API the
// keys of an embedded one, the hub's addresses, and the content of the current Releases. An archive holds that (archive.go):
// a manifest with the SHA-256 of each part, then the parts, as tar in zstd, encrypted with age where recipients are given.
//
// Take, in order: list every kind at one revision of the API; plan what belongs to a hub; write manifest and parts.
//
// Restore, in order:
//
//  1. Check that nothing of a hub is there, and write a guard: no hub starts while it stands.
//  2. Create the objects, owners before what they own, with the UIDs that owners have now; then their status.
//  3. Store the content. Delete what was being deleted.
//  4. Take the guard away.
//
// Laws, with their reasons:
//
//   - An archive is read to its end and verified before the first object is written: half a hub is worse than none.
//   - UIDs are new. Nothing outside of the API knows one, owner references are translated, and a reference that cannot be is
//     dropped: an object whose owner's UID is unknown would be collected as garbage.
//   - A restored hub knows what was, not what is. Its Packages carry v1alpha1.RestoredAnnotation: package delivery delivers
//     them when their source was read again, and prunes nothing by a selection until somebody says that this hub is right.
//   - Killed at any step, the same restore can be run again; another one is refused.
//   - Nothing is overwritten that was there before.
//
// Where a hub's folders are and how its API is started is up to package hub. It runs in the CLI.
package backup
