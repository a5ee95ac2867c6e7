// Package prometheus is what programs of Prometheus that others made do with a hub: a Prometheus with what it writes on, and promtool with its answers.
// `make prometheus promtool` takes Debian's out of their package.
package prometheus
