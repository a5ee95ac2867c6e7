// Package trail asks the hub for its audit log: what came through it, and by whom it was done.
//
// The hub answers what the one who asks may see. Asking is all that is here; what is made of the events is the business of the verbs
// that need them.
package trail
