// Package capi answers: how does Cluster API come to run on the hub, and which of its providers?
//
// It reads Providers, what the hub brings itself (Own), and what lies in a folder of each on the hub's machine: the program, and the manifests that its project
// releases; and Secrets of the hub's namespace that hold access keys. It alone writes Provider.status, the kinds (CustomResourceDefinitions) and webhooks of what it runs, and that
// folder's certificates. It runs on the hub, on the replica that leads. What a Cluster becomes is Cluster API's business.
//
//  1. The first Provider, of whatever name, has the Provider cluster-api made: Cluster API's core, its topologies, health
//     checks and kubeadm providers, which are one program, umbel-capi. Without any Provider nothing runs.
//  2. What a provider is made of is read from its manifests: of these its kinds and webhooks are applied, with addresses on
//     this machine and a certificate authority that is made for this one start. Its Deployment, rights and Service are not: it is
//     a process here.
//  3. Its program is started with the flags that all of Cluster API's managers have, and started again whenever it ends, and when an
//     access key has changed of which it keeps what it once read (Cluster API's provider for AWS).
//  4. A Provider that is deleted stays until no object of its kinds is left; then the process ends, and its webhooks and kinds
//     go.
//
// Laws, with their reasons:
//
//   - Kinds that somebody else brought are never changed, and their provider is never started: two managers of one kind fight.
//     The hub then uses what is there (reason Foreign).
//   - What runs is what lies in the folder, never what an object names: whoever may write Providers does not thereby run
//     programs on the hub's machine.
//   - Nothing is deleted under objects that need it: a webhook or a kind that goes takes every cluster with it that it stood for.
package capi
