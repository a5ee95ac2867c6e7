// Package profile answers: how do tools for many clusters see a member?
//
// As a ClusterProfile of SIG-Multicluster (KEP-4322, multicluster.x-k8s.io), one for each MemberCluster, of its name, in
// namespace umbel-system. It reads MemberClusters and how the hub is reached (ConfigMap hub-info), and alone writes the
// ClusterProfiles whose label x-k8s.io/cluster-manager is umbel. For each MemberCluster, when something of it changed that
// shows:
//
//  1. Read its ClusterProfile.
//  2. Plan how it should be: the labels, conditions, version and properties of the MemberCluster, and how the member is
//     reached through the hub, as whoever asks.
//  3. Create or write it when it differs; delete it when the MemberCluster is gone.
//
// Laws, with their reasons:
//
//   - A ClusterProfile without our label is somebody else's, whatever its name: it is never touched, and an event on the
//     MemberCluster says that its name is taken.
//   - What is not known reads Unknown: the control plane of a member that does not answer is not said to be healthy, nor ill.
//   - A profile holds no credential. Who uses one asks the hub as itself, and the member's own roles decide.
//   - Nothing is written when nothing changed. The cache holds our own profiles alone.
//
// What a member says of itself comes from package profile/about, in the agent. It runs in the hub.
package profile
