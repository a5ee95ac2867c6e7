// Package kubectl answers: how does somebody use kubectl on a member that nothing can dial? It is the verb
// `umbel kubectl`.
//
//  1. Look the MemberCluster up: a name that does not exist, and a member that is not connected, are said at once and
//     not after kubectl's own timeouts.
//  2. Ask the hub where people reach it (ConfigMap umbel-system/hub-info) and write a kubeconfig for
//     https://ADDRESS/clusters/NAME with the credentials of the hub's kubeconfig, readable by this user alone.
//  3. Run kubectl with it: the one inside umbel-kube beside this program, else the one in PATH. Its input, output and
//     exit code are passed through; the kubeconfig is removed when it ends.
//
// The person stays who they are: the hub asks for nobody's rights but theirs, and so does the member. No credential of
// a member is in the kubeconfig: there is none that the hub could give.
package kubectl
