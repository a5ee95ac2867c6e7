// Package hosted answers: how does a Cluster of Cluster API become a real cluster on the hub's machine?
//
// It is Umbel's own provider, of contract v1beta2: infrastructure, control plane and bootstrap in one. It reads Clusters and
// Machines, which are Cluster API's, and the kinds of api/infrastructure, which Cluster API makes of a ClusterClass. It alone
// writes the status of these, and of what Cluster API waits for: a control plane's endpoint, a machine's provider ID, the Secrets
// with a cluster's kubeconfig and with what a machine is told. What it makes is package local's: it asks for a place, a control
// plane, a machine, and for their end. It runs in a process of its own (`umbel provider serve`), which the hub starts for the
// Provider local; machines outlive it.
//
//  1. HostedCluster: claim a name and ranges of addresses, for good.
//  2. HostedControlPlane: raise etcd, API server, controller manager and scheduler in a machine without a node, or in three; say
//     where; keep a kubeconfig for Cluster API that is valid for a day. Where the infrastructure is another provider's, claim the place too,
//     and take machines by bootstrap tokens.
//  3. LocalBootstrap: once the API has served, say which cluster a machine joins.
//  4. LocalMachine: raise a machine, whose Node has the machine's name and provider ID.
//  5. Look again every few seconds: what was killed is raised where it was, with its data. A machine that has lost its folder is not: its
//     Node is deleted, and Cluster API replaces it, as one whose kubelet does not answer, by the class's health check.
//  6. What is deleted ends, and leaves nothing: machines, then the control plane, then the place, as Cluster API has it. With a Cluster that is
//     deleted each is deleted here, when it is next and nobody keeps it.
//
// Laws, with their reasons:
//
//   - A place belongs to one Cluster, by namespace and name, as long as there is something in it. Another one of that name is
//     refused, and never touches it.
//   - What Cluster API waits for becomes true once and stays: it reads a step back as the loss of the cluster.
//   - The control plane and the data of a protected Cluster do not end before that is being deleted, whoever deletes their objects:
//     of a namespace that is deleted, Kubernetes deletes all but what it is refused.
//   - What is paused, or managed by somebody else, is left alone entirely.
//   - What cannot be made as it is asked for is said in the object's condition and looked at again, not given up: what was in the
//     way may go.
package hosted
