// Package rules answers: what does the fleet alert about, and what is computed of what it measures?
//
// Rules are PrometheusRule objects (monitoring.coreos.com/v1) in the hub's own namespace, and Prometheus' own engine of rules evaluates them
// over what the whole fleet measures.
//
//  1. Shipped (deploy/rules) are created once. Who changes or deletes one has it so for good; one that nobody changed follows the hub's version (ship.go).
//  2. Each object is read whole or not at all (plan.go). One that does not parse says so in an event, shows as the series umbel_rules_broken, and
//     what it said before goes on.
//  3. What rules record, and the alerts themselves (ALERTS), are series of the database.
//  4. Alerts go to whoever is told (package notify), and are asked for at /api/v1/alerts.
//
// Laws, with their reasons:
//
//   - Only the hub's own namespace counts. A rule sees what every cluster measures, and writes series: whoever may write objects elsewhere on the
//     hub's API, such as a team in its namespace, has no part in that; nor has another Prometheus' operator there that has objects of its own.
//   - What cannot be read stands still: an object that was broken by an edit does not take its alerts away.
//   - One replica evaluates: the one that leads.
package rules
