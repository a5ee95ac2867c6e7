// Package kubectl answers: how does somebody use kubectl on a member that nothing can dial? It is the verb
// `umbel kubectl`.
//
//  1. Look the MemberCluster up: a name that does not exist, and a member that is not connected, are said at once and
//     not after kubectl's own timeouts.
//  2. Write a kubeconfig for the way to it (package route), readable by this user alone.
//  3. Run kubectl with it: the one inside umbel-kube beside this program, else the one in PATH. Its input, output and
//     exit code are passed through; the kubeconfig is removed when it ends.
package kubectl
