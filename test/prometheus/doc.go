// Package prometheus is what a Prometheus that others made does with what a hub writes on to it: `make prometheus` takes Debian's out of its package.
package prometheus
