// Package archive answers: which files does an archive hold, and is it the archive that its digest names?
//
// It is what sources have in common that come in one piece: OCI artifacts and Helm charts. It alone writes a Store, a folder of
// blobs, each under its digest.
//
//  1. A blob is written as it comes, hashed and counted, and gets its name when it is whole and the right one.
//  2. Unpack reads a tar archive, plain or compressed with gzip or zstd, into Files: a file system in memory.
//
// Laws:
//   - A blob is compared with its digest when it is written, and again whenever it is read.
//   - What is unpacked is bounded in files and bytes, whatever the archive says of itself.
//   - A name that leads out of the archive is an error. Links are kept as what they are and cannot be read; devices are an error.
package archive
