// Package hub answers: what does the hub run, and in which order? (*hub).serve in hub.go is the list; a newcomer starts
// there. What each part of it does is in parts.go.
//
// The hub is one process. By default it brings its own etcd and kube-apiserver (embedded.go); with a kubeconfig it runs
// on any existing Kubernetes. Its state is in that API, rendered content in an OCI registry below the data folder. The
// rooms know nothing of each other: this package hands each what it needs and wires the two interfaces between them
// (what a member is to hold, from delivery to gateway; where content is served, from content to gateway).
package hub
