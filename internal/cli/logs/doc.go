// Package logs is `umbel logs`: what the containers of many clusters write, together.
//
//  1. List the MemberClusters that are asked for, and find in each the pods that are meant (pods.go): those of a Deployment and its like, of a
//     selector, or one.
//  2. Without --follow: read the end of each container's log, all clusters side by side, and write the lines in the order of their times.
//  3. With --follow: write lines as they come (follow.go), of pods that come later too, and go on where it was when a connection or a cluster was lost.
//
// Each cluster is asked through the hub, as whoever runs the command. Nothing is kept, here or on the hub.
//
// Laws, with their reasons:
//
//   - What could not be read is said, by cluster: a log without a cluster is never taken for one of a cluster in which nothing happened.
//   - A line is somebody else's text: on a terminal it colours, and does nothing else there (plan.go).
package logs
