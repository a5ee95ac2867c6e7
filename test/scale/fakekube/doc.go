// Package fakekube is a fake: a Kubernetes API in memory, so that one process can hold ten thousand members. A Server is the
// API server of one of them, and the http.RoundTripper that reaches it: no sockets.
//
// What it does it does as the real one:
//
//   - Server-side apply is the real code (k8s.io/apimachinery's managedfields), so that owners, conflicts and what is
//     left out come out as they should. It deduces types from objects instead of reading schemas: lists are atomic, and
//     fields that do not exist are not refused.
//   - An apply that changes nothing writes nothing; every write has a resourceVersion of its own.
//   - A watch begins at a resourceVersion, or with the objects that are there (sendInitialEvents), sees an object that
//     leaves its selector as deleted, and ends after its timeoutSeconds. From a version that is forgotten it is 410 Gone.
//   - A delete keeps its uid precondition. Nothing is made in a namespace that is not there.
//   - Metadata alone is answered to who accepts that first.
//
// What it leaves out: everything that the agent does not ask for. It knows the kinds in resources alone, no create and no
// update but apply and merge patch, no finalizers (what is deleted is gone at once, a Namespace with what is in it), no
// limit on lists, no admission, no users; it answers in JSON alone.
package fakekube
