// Package real is all that a fleet can be asked to hold of test/data: configuration that nobody here wrote. Its table names
// every folder there that somebody would make a Package of, and every file that belongs to none, with the reason.
//
// Its tests render all of it and have an agent's engine apply it to a real API server, twice, drift it, and prune it; the
// end-to-end story does the same with a whole fleet.
package real
