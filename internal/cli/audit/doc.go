// Package audit answers: how does somebody see who did what through the hub? It is the verb `umbel audit`.
//
//  1. It asks the hub's gateway, through its door (package route), as the person who runs it; the hub decides whether they may.
//  2. The hub filters and sends events of audit.k8s.io/v1, one per line of JSON, the oldest first (umbel.dev/umbel/internal/audit).
//  3. They are written as they come: as a table, a row per request; or as they are. Nothing is kept in memory.
//
// The answer ends with a line that says so. Without it the command fails: what is shown is not all.
package audit
