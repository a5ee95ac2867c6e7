// Package prometheus is what programs of Prometheus that others made do with a hub: a Prometheus with what it writes on, promtool with its answers, and an
// Alertmanager with its alerts. `make prometheus promtool alertmanager` takes Debian's out of their packages.
package prometheus
