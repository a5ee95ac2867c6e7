// Package webhook answers: which repositories does a server that hosts them say have changed, and is it that server?
//
// GitHub, GitLab, Gitea and Bitbucket, and registries, tell of a push by a request to /hooks/NAMESPACE/NAME, which names a
// receiver: a Secret with the label umbel.dev/webhook, whose value is the format, and the key token, which the server was given
// as well. It reads such Secrets, past every cache, and writes nothing itself: what becomes of the news is up to its caller.
//
//  1. The body is read, so much of it and for so long.
//  2. It is signed with the token, or comes along with it, as the format has it. The comparison takes the same time whether it is
//     nearly right or all wrong, and the answer is the same whether there is such a receiver or not.
//  3. The addresses of repositories in it are handed on. A push says no more than that it is time to look: what is there says
//     the repository itself.
//
// Laws:
//   - Who does not have the token learns nothing and causes nothing.
//   - A receiver speaks for the Packages of its own namespace; one in umbel-system for all.
//   - What comes is bounded in bytes, in time and in number.
package webhook
