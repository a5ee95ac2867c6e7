// Package source answers: what does a source hold now, and what did it hold at a revision?
//
// A source is a Git repository, an OCI artifact or a Helm chart. How each is read is up to a Reader: packages git, oci and
// helm, which share archive. This package reads Secrets through what its caller gives it, and writes nothing itself; a Reader alone
// writes its own folder, a cache. Nothing is ever written to a remote.
//
//  1. A caller asks for the Head of a Ref, as new as it needs it. It gets what is known at once. When that is older
//     than asked for, a fetch starts in the background; many callers that ask for the same Ref share one fetch.
//  2. A fetch reads the Secret that the Ref names, and lets the Reader of the Ref's kind Resolve it: which revision is it at
//     now? What that revision holds is in the Reader's cache then.
//  3. When it ends, well or not, whoever gave the callback Fetched hears of it and asks again.
//     It is asked for what that is signed with (Evidence) by who wants to know; package signature says what that proves.
//  4. Tree opens a revision as a read-only file system. A Trace around it notes what was asked; its Record says of the tree of a
//     later revision whether it would have given the same answers.
//  5. Every minute the Readers tidy what they fetched (keep.go), and what no Package names any more goes an hour after its last use.
//
// Laws:
//   - A failure is an answer of its own, with a reason, and never looks like an empty source. What was fetched stays readable,
//     whatever becomes of the remote.
//   - What was fetched with a Secret is read by who names that Secret: a cache is shared by the same address and Secret.
//   - Credentials go to the address that they are for, and there only: not over a line that others read, not along with a
//     redirect to another host, not to another address than the Secret says. No error, event, status or log has one in it.
//   - A source that hangs holds up its own fetches alone, until their time is over. What is fetched and read is bounded.
//   - A cache can be lost. What is in it is compared with its hash when it is read.
//   - Symbolic links are shown as what they are and not followed, and so are submodules, unless they are asked for.
//
// It leaves it to delivery what a revision means. It runs in the hub.
package source
