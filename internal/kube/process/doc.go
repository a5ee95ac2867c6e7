// Package process answers: how does a set of child processes stay up, and end together?
//
// A Supervisor runs the processes that a caller lists. It reads nothing but their exit and their readiness probes, and
// alone writes their log files. It runs in the hub (etcd, kube-apiserver) and in each local machine (all of Kubernetes).
//
//  1. Each process starts as soon as those that it names in After have been ready.
//  2. One that ends is started again after a delay that doubles from 100 ms to 10 s; 30 s of life set it back.
//  3. When the caller's context ends, they are stopped in reverse order: SIGTERM, and SIGKILL after a grace.
//
// Laws, with their reasons:
//
//   - A child never outlives its supervisor, however that ends: it is started from a locked thread with a parent-death
//     signal of SIGKILL. So nothing is ever left that holds a port or a data folder.
//   - A child inherits no stdin, no stdout, and only PATH, HOME and TMPDIR of the environment: a script that starts a
//     supervisor does not hang on a grandchild, and what a shell happens to export does not change a cluster.
//   - Children write to their log file themselves, not into a pipe of ours, so that what they start in turn (a
//     container's shim) can outlive them without a broken pipe. A log of over 10 MiB is rotated; one old one is kept.
package process
