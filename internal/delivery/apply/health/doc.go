// Package health answers: is an object of this kind healthy, by the rules that a Package brings along for it?
//
// A rule is CEL over the object as self. It is compiled once, when the Package's policy comes, and costs a bounded amount
// each time (costLimit). An expression that fails, because it refers to a field that is not there yet or costs too much,
// gives Unknown: never healthy, and never failed either.
//
// Kinds without a rule are judged by kstatus, in folder member. It is a leaf: no client, no clock.
package health
