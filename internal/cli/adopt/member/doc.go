// Package member answers: what is on the cluster whose objects are taken over, and what would become of it? It reads, and asks the
// API server by dry runs, as whoever runs the command; what it writes is metadata alone.
package member
