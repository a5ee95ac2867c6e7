// Package owner answers: to whom do the fields of an object belong, and how do they change hands without a change of what is in
// them? It decides purely, over an object's managedFields.
//
//  1. Take: the entries of whoever managed the object go. Umbel's own entry, which the agent's apply made, has the same fields. What
//     the other had and Umbel has not (labels by which it knows its objects), and the other way round, is noted.
//  2. GiveBack: the entries are made again, of what Umbel owns by then and of what was noted.
//
// Why it matters: a field that nobody removes from an entry stays for ever. Left with a manager that is gone, what a later release
// leaves out would stay on the member.
package owner
