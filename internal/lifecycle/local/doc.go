// Package local answers: how does a real Kubernetes cluster come to be on this computer, and end without a trace?
//
// It reads and writes the data folder's local/NAME, where all of a cluster is, and makes on the host what the cluster
// needs: for each node a cgroup, a network namespace and a link (see package network), and the machine that runs in them (see
// package machine). The main machine has the control plane; those of further nodes are in local/NAME/machines. Callers are `umbel local` and `umbel up`. It joins nothing to a fleet: that is for `umbel join`, which takes
// a cluster of ours by its kubeconfig like any other.
//
// Create works in these steps; each finds out what is there already, so that it heals what a crash, a kill or a reboot
// left, and may be repeated:
//
//  1. lock the cluster; give it an index, from which its addresses follow for good
//  2. unless the machine runs: write keys and configuration, make cgroup and network anew, launch the machine
//  3. wait for the API; grant the first roles
//  4. import the images; install the cluster's DNS; meanwhile wait for the node to be Ready
//  5. with the API there: end the machines that the record does not know any more, and bring up those of further nodes in the same way
//
// Laws, with their reasons:
//
//   - Nothing is pulled from the internet, and nothing of the host is changed outside of the data folder but a bridge,
//     and a cgroup, a network namespace and a link per machine. Delete takes all of that away.
//   - What is true now is asked of the kernel (who holds the machine's lock, whose the bridge is), never read from a file
//     that a crash would have left behind.
//   - Two commands never work on one cluster at a time: the second is told so at once.
package local
