// Package queue answers: what was measured that the hub has not taken yet?
//
// It is a folder with a file for each request, in the order of their numbers. A file is there whole or not at all, and goes when the
// hub has answered for good: that it is kept, or never will be. So nothing of it need be in memory, and an agent that is killed
// sends at most one request twice, which changes nothing.
//
// The folder is bounded: when it is full, the oldest goes, since what happens now is asked for most. That is said in the log.
package queue
