// Package query answers: how is asked for what the fleet measured?
//
// By Prometheus' HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/), so that Grafana and promtool take the hub
// for a Prometheus: query, query_range, series, labels, label/NAME/values, metadata, rules, alerts and status/buildinfo. It is ours because
// Prometheus' own package brings 160 others, of which some are service discoveries of clouds; the engine of PromQL is Prometheus'.
//
// Where the settings name an outside store (backend.go), such as a Thanos or a Mimir that all is written on to, that one answers queries in the hub's place.
//
// Laws, with their reasons:
//
//   - Which clusters an answer is about is decided by the caller, and held below the engine: each read of the database has the
//     matcher, whatever the query says. An outside store is asked by the hub, which may see all there:
//     every selector of the query gets the matcher before it is sent.
//   - Queries take turns, each within bounds of time and samples: who asks for too much gets an error, and the hub goes on.
package query
