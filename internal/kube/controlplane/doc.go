// Package controlplane answers: what makes a Kubernetes control plane out of the umbel-kube binary and a folder?
//
// It plans the processes of etcd, kube-apiserver and, where asked for, kube-controller-manager and kube-scheduler, and
// alone writes their keys, certificates and kubeconfigs, all below Config.Dir. Whoever runs the processes (the hub, a
// local machine, a test) does so with package process.
//
//  1. New checks the configuration; it touches nothing.
//  2. Prepare makes the CAs and the service account key once, and issues every certificate anew, for a year.
//  3. Processes returns what to run; each process says when it is ready.
//  4. Bootstrap grants, once the API serves, what the components need beyond Kubernetes' own roles.
//
// Laws, with their reasons:
//
//   - No insecure port, flag or group: etcd and the API take TLS with client certificates only, anonymous requests are
//     refused, Node and RBAC authorise, NodeRestriction admits.
//   - The group system:masters, which no RBAC rule can restrain, is only ever used by Bootstrap and by tests, and is
//     never written to disk. People are in umbel:admins, which RBAC can take away again.
//   - etcd syncs to disk: a kill at any instant loses nothing that was acknowledged.
package controlplane
