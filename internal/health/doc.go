// Package health answers: what is wrong in the fleet now, worst first?
//
// It turns objects of the hub's API into findings: what it is about, since when, why, and the command that shows more. It decides
// only. The command line (`umbel status`) reads the objects and writes the findings; the hub writes some of the same as series, so that
// a rule can alert. Both have one set of rules.
//
//  1. What the hub says is as old as its last sign of life: while it is silent, that is all there is to say.
//  2. Each kind has its rules: which condition, with which reason, is trouble, and how bad that is. Work that goes on is none.
//  3. What is a consequence of something else that is found is left out: a cluster whose package fails is told of as the package.
//  4. Alerts of the hub's rules that fire are findings too, as bad as their severity says; those that the hub makes of the same rules are told of once.
//  5. The worst comes first, and of the same kind what has lasted longest.
//
// Laws, with their reasons:
//
//   - A reason that nobody here knows is told of as a warning: later versions have reasons that this one has not.
//   - Unknown is never well: a cluster that is not heard of is critical, whatever it said last.
package health
