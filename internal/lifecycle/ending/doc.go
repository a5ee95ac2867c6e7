// Package ending answers: what is a cluster that is being deleted waiting for, and what does it leave behind when nobody can end it?
//
// It reads a Cluster of Cluster API and the objects that carry its label, of whatever provider, and works for whoever asks: `umbel
// cluster delete`. Ending a cluster in order is the business of Cluster API and the provider. Here is what is done when that stalls.
//
//  1. Gather the Cluster and its parts. A kind that cannot be read is named: it is not without objects.
//  2. Blockers: the parts that are being deleted and keep a finalizer, while nothing below them (metadata.ownerReferences) does.
//     Whoever put the finalizer there has not done its work.
//  3. Detach, when somebody asks for it: what has blocked for a while, and blocks still, loses its finalizers, so that what is above it
//     goes on ending as it should. Again, until nothing is left.
//
// Laws, with their reasons:
//
//   - Nothing loses its finalizer before the report says what it is and by which names its provider knows it (ConfigMap NAME-orphans,
//     and the caller's file): what is not ended is paid for, and nobody looks for what no list has.
//   - What is on the list stays there: a report is of one Cluster, by its UID, and whoever writes it absorbs what was written before.
//   - Nothing of another Cluster of the same name is touched: once the Cluster is gone, only what was seen before is, and what that owns.
//   - Nobody says that it is done while a kind could not be read.
//   - Only what is being deleted is detached, and only what blocks: a provider that still works ends its parts properly.
//   - The report is no part of the cluster, and stays when that is gone.
package ending
