// Package bundle is the format in which rendered content travels from the hub to a member: what exactly is a variant
// of a Release, byte for byte?
//
// A bundle is zstd-compressed JSON lines, one per object:
//
//	{"file":"apps/web.yaml","object":{"apiVersion":"v1","kind":"ConfigMap",…}}
//
// file is where the object stands in the source, so that an error in a member can name it.
//
// Encode works in three steps:
//
//  1. Each object becomes canonical JSON: keys sorted, no spaces, numbers as they were written.
//  2. The lines are sorted by group, kind, namespace and name, so the order of files does not matter.
//  3. The lines are compressed in one frame with a checksum and a small window, so that a reader needs little memory.
//
// The same objects give the same bytes, and so the same digest, whatever order they came in. (Another version of the
// compressor may give other bytes for the same objects. That costs a new Release and no change in any member.)
//
// Laws:
//   - A bundle is never empty. Encode refuses to make an empty one and Decode refuses to read one, since an agent that
//     takes "nothing" for "delete everything" would be wrong in the worst way.
//   - What is cut short, out of order or doubled is an error, never a shorter list.
//   - Decode holds one object at a time and stops at its limits, whatever the sender claims.
//
// It is a leaf: no Kubernetes client, no file, no network. The hub encodes (delivery), the agent decodes (apply).
package bundle
