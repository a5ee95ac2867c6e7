// Package variable answers: by what do clusters differ, and what is that for this one?
//
// Everything by which what clusters get differs is a variable of a Release, a text that says how its value is found:
//
//	cluster.name                               the cluster's name
//	cluster.labels.KEY                         a label of its MemberCluster
//	cluster.properties.NAME                    what its ClusterProperty of that name says
//	cluster.labels.KEY:-DEFAULT                … or DEFAULT where the cluster has none, or an empty one
//	cluster.matches(env in (dev,test),!edge)   "true" where its labels match, "false" elsewhere
//	cluster.named(eu,us)                       "true" where it has one of the names
//	if SELECTOR VARIABLE                       the variable where the selector is true, and nothing elsewhere
//
// So clusters with the same values get the same content, and whoever has a Release and a cluster knows which of its
// contents the cluster gets: the hub needs nothing else, and keeps nothing else.
//
// Selectors have one way to be written (Matching, Named), so that the same selector is the same variable wherever it comes
// from. Values are found without parsing them into anything, since a hub asks for each cluster and each Package.
//
// It is pure. Which variables a source uses is found by package render, which classes of clusters come of them is package
// delivery's to say.
package variable
