// Package net tells how hub and agent fare on bad networks: the real code of both, each in a process and a network namespace
// of its own, over lines of packets that are as bad as a story wants them (package line).
//
// The tests have the build tag e2e and need root and the umbel-kube binary: `make e2e` runs them. They make a network
// namespace for themselves first, so that nothing of the machine's own network is touched.
//
//	the test's namespace                     each agent's namespace
//	  API server, hub, people   ── line ──     agent, and beside it a member of its own
//
// TestChaos draws a schedule of cuts from a seed: a minute of it is part of `make e2e`, and `make chaos` is an hour
// (CHAOS=10m is ten minutes, SEED=N does again what was done with that seed).
//
// What stands in for something: the member is test/scale/fakekube, with an echo behind pods/exec and an endless text behind
// pods/log (member_test.go); proxies and load balancers are a few lines of Go (middle_test.go).
package net
