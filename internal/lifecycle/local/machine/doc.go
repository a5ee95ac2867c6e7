// Package machine answers: what is inside of one local machine, and how does it begin and end?
//
// A machine is a set of Linux namespaces (network, mount, PID, UTS, IPC) in which etcd, the control plane, containerd,
// the kubelet and kube-proxy run as on a computer of their own; the machine of a further node has no control plane. It reads a Spec, which package local writes; it alone
// writes what is below the cluster's folder while it runs. A cluster without nodes needs no namespaces: there the same
// code supervises a control plane on loopback ports.
//
// The processes of a machine:
//
//	init (pid 1: `umbel local machine-init`)      makes mounts, reaps, restarts the runner
//	└── runner (`umbel local machine-run`)         supervises, see package process
//	    ├── containerd ── shims ── pods
//	    ├── etcd, kube-apiserver, kube-controller-manager, kube-scheduler
//	    ├── kubelet, kube-proxy
//	    └── agent, once agent/command.json is there
//
// Laws, with their reasons:
//
//   - Killing init is a power cut: the kernel ends every process of the PID namespace with it, containers too, and the
//     mounts go with their namespace. So nothing is ever orphaned, however a machine ends.
//   - A machine writes below its own folder only, and its API server into the cluster's folder of audit logs: /var is a folder of its own, /run a tmpfs. All paths that it shares
//     with the host (its folder, the binaries) are the same inside as outside, even where they lie below /var or /run.
//   - That a machine runs is known by a lock that init holds, never by a file that a crash would leave behind. The
//     kernel names the holder, so a pid that was used again is never signalled.
package machine
