// Package settings answers: where do alerts go, and where else is what the fleet measures kept?
//
// That is said in the Secret umbel-metrics of the hub's own namespace, in Prometheus' own words: its key prometheus.yml has sections of
// Prometheus' configuration (https://prometheus.io/docs/prometheus/latest/configuration/configuration/): global, alerting and
// remote_write. Its key webhooks has an URL on each line, and its key backend.yml the
// store that answers queries in the hub's place. It is a Secret since URLs and credentials are.
//
// Laws, with their reasons:
//
//   - It is read whole or not at all, and what was read before goes on: a typo does not silence alerts.
//   - No file of the hub's machine is read because of it: whoever may write that Secret has the hub's API, and not its disk. Credentials stand in it.
package settings
