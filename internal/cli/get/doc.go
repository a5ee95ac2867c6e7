// Package get answers: which objects are there, and how are they? It is the verb `umbel get`.
//
//  1. Read the objects as the API has them, by name or by namespace and selector.
//  2. Read the hub's last sign of life: statuses are as old as it (package view).
//  3. Write a table, the objects as JSON or YAML, or their names. With --watch, carry on with each change.
//
// With --clusters or --all-clusters it asks the members, for any kind that they have: package fleet does that.
//
// It follows kubectl where kubectl has a custom: a single named object is written as that object and everything else
// as a List; names that do not exist are errors and do not hide those that do; what is said about results goes to
// standard error.
package get
