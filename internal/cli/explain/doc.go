// Package explain answers: why is it, or why is it not, here? It is the verb `umbel explain`.
//
//  1. Read the package, what it refers to, and the cluster, as whoever asks.
//  2. Follow the way from the source to the cluster and note at each step whether it passed, failed, or cannot be told, since
//     when, and why (steps.go): source, render and the cluster's values, placement with every part of its spec (package
//     decide, which decides on the hub, too), its turn in a rollout, approvals, the way to the cluster, and what its agent says.
//  3. Write the account: a sentence, the steps, and what to do next about the first that did not pass. -o json and yaml
//     write it as it is.
//
// Foresee says the same of a spec that nobody has made yet.
//
// Everything but reading is a function of API objects and the time, so that accounts are tested with values.
package explain
