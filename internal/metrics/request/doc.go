// Package request answers: how are samples written down on their way to the hub?
//
// As a request of Prometheus' remote write 2.0 (https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/): a table of
// strings, and series that refer to it, in protobuf and Snappy. Builder writes one, Decode reads one.
//
// Decode is ours because its input comes from whoever has a member's key. The generated code makes 170 bytes of a series of
// two, so that a request of a few megabytes fills a hub; Decode holds the table and one series at a time. A test compares
// both with the generated code. What agents do not send (native histograms, exemplars) is passed over.
package request
