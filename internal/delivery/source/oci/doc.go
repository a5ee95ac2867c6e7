// Package oci reads artifacts from OCI registries: what does a tag, a range of versions or a digest stand for now, and what files
// does that artifact hold?
//
// It reads registries, and alone writes a folder of what it fetched (package archive).
//
//  1. A tag, or the newest tag that a range allows, is resolved to the digest of a manifest.
//  2. The manifest and its layers are fetched by their digests, unless they are there already.
//  3. Tree unpacks the layers one over the other. A layer is a tar archive, as Flux and Helm make them, or a file or folder with
//     a title, as `oras push` makes them.
//
// Laws:
//   - A revision is a digest: what is read is what the digest names.
//   - A layer that is not understood is an error and never left out.
//   - Plain HTTP is spoken when the address says so (oci+http://), and gets no credentials unless the registry is on this machine.
package oci
