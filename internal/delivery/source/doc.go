// Package source fetches Git repositories: what does a branch, tag or commit point at now, and what files does that
// commit hold?
//
// It reads remote repositories and alone writes a folder of mirrors, one bare repository for each URL. It never writes
// to a remote, runs no hook and makes no checkout.
//
//  1. A caller asks for the Head of a Ref, as new as it needs it. It gets what is known at once. When that is older
//     than asked for, a fetch starts in the background; many callers that ask for the same Ref share one fetch.
//  2. A fetch asks the remote for its references and, only when the commit is not in the mirror yet, for its objects.
//  3. When it ends, well or not, whoever gave the callback Fetched hears of it and asks again.
//  4. Tree opens a commit of the mirror as a read-only file system. Files are read when they are asked for, so one
//     folder of a large repository costs what that folder costs.
//
// Laws:
//   - A failure is an answer of its own, with a reason, and never looks like an empty repository. The last good commit
//     stays readable in the mirror, whatever becomes of the remote.
//   - A repository on the hub's own disk is read only in the folders that the hub was told.
//   - A repository that hangs holds up its own fetches alone, until their time is over.
//   - A mirror is a cache: one that cannot be read is made anew, and a half-written one cannot harm.
//   - Symbolic links and submodules are shown as what they are and not followed. What may be read is bounded.
//
// It leaves it to delivery what a commit means. It runs in the hub.
package source
