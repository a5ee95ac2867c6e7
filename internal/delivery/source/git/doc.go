// Package git reads Git repositories: what does a branch, a tag, a range of versions or a commit point at now, and what files
// does that commit hold?
//
// It reads remote repositories over https, http and ssh, and file:// in the folders that the hub was told, and alone writes a
// folder of mirrors: one bare repository for each URL and Secret. It runs no hook and makes no checkout.
//
//  1. A remote is asked for its references, over one connection (remote.go, ssh.go).
//
//  2. When the commit is not in the mirror yet, its objects are asked for over the same connection, beyond what the mirror has.
//
//  3. Tree opens a commit of the mirror as a read-only file system. Files are read when they are asked for, so one folder of a
//     large repository costs what that folder costs.
//
//  4. Each fetch brings a pack, and whoever opens a mirror reads the indexes of all. Where they are many, one is made of the small
//     ones every minute (packs.go, join.go). Those that it is in place of are shown to nobody from then on, and deleted when nobody
//     can be reading them any more.
//
//  5. A mirror that no Package names, nor the submodule of one, is deleted an hour after its last use (tidy.go).
//
// Laws:
//   - The last good commit stays readable in the mirror, whatever becomes of the remote.
//   - A repository on the hub's own disk is read only in the folders that the hub was told.
//   - A server of ssh is known by its key, or is not talked to. Nothing of the user's own ssh is looked at: no configuration, no
//     agent, no known_hosts.
//   - A mirror that cannot be read is made anew, and a half-written one cannot harm.
//   - Submodules are fetched for who asks for them, at the commits that the repository names: a Secret is shown to the server of
//     the repository alone, and a remote one does not lead to the hub's disk.
package git
