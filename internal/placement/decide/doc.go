// Package decide answers: which clusters does a Placement mean, and why does it not mean this one?
//
// It reads nothing and writes nothing: a Placement's spec, what is seen of the clusters, what was decided before and the
// time go in, a Decision comes out, and the same in gives the same out. Hub and command line share it.
//
//  1. Compile reads a spec once: selectors, fields, expressions (CEL). Its error names the field, and in an expression
//     the line and the column.
//  2. Each cluster is judged alone: does it fit, and if not, what does it not meet?
//  3. What follows depends on whether it is selected now. A person's word counts at once: labels, the spec, an Evict taint.
//     What an agent says counts after a while (spec.stay.whenUnfit), and what cannot be told changes nothing.
//     One that is observed, where nothing is written, is not selected anew, and keeps the place that it has.
//  4. Where a number of clusters is asked for, those that are selected keep their seats. Free seats go, one by one, to the
//     best that the spread allows: connected, not avoided by a taint, with the greatest score, and then by lot. A Pool keeps
//     those who wait in that order, so that one change costs no look at all of them.
//
// Laws:
//   - Unknown is never empty. An expression that errs of a cluster, or a field that nobody knows, neither selects it nor
//     ends its selection, and names it in status.undecided, so that it keeps what it holds of whichever Package.
//   - A change of one cluster moves that cluster, and at most as many others as seats become free by it. No score, and no
//     newcomer, takes a seat from a cluster that fits.
//   - A cluster that is away keeps its seat, unless the spec says for how long and another that is there takes it.
//   - The number is never exceeded, and no choice of a newcomer breaks the spread. Where either cannot be had, the
//     Decision says why.
//   - No wall clock, no randomness, no order of the input matters: lots are drawn by a hash of the Placement's and the
//     cluster's name, so that many Placements of one cluster do not all choose the same. An expression that goes by the order
//     of labels is the exception, as CEL promises none: whom it selects is anybody's guess, and all other laws hold.
package decide
