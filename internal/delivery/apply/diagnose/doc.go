// Package diagnose answers: why does an object not become healthy, in a sentence that somebody can act on?
//
// A Deployment says that one of its replicas is unavailable; what is wrong stands in its pods, or in events. So when one
// stays unhealthy it is looked at, on demand: at most maxPods pods by its selector and maxEvents events of it, and nothing is
// watched. What was found is decided purely (pod.go): "pod web-abc: container app: ImagePullBackOff: …", "pod web-abc: 0/3
// nodes are available: …".
//
// No log of a container is read: it may hold what no status should show. The sentence names the command that shows it
// instead.
package diagnose
