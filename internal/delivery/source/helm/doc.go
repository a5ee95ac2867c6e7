// Package helm reads Helm charts from repositories, over HTTP and OCI: which version of a chart does a range give now, and which
// files does it hold?
//
// It reads repositories, and alone writes a folder of the archives that it fetched (package archive). A chart is not rendered
// here: that is up to package render, wherever the chart comes from.
//
//  1. The versions of a chart are in the index of an HTTP repository, which is asked for when it changed, or the tags of an OCI one.
//  2. The newest version that the range allows is fetched, unless it is there, and compared with the digest that the index has.
//  3. Tree unpacks the archive; its root is the chart's own folder.
//
// Laws:
//   - A revision is a version and the digest of the archive: one that is published anew under an old version is another revision.
//   - Credentials go to the host of the repository; a chart that its index has elsewhere is asked for without.
package helm
