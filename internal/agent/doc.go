// Package agent answers: what runs in a member? Run is the list.
//
// One process per member. It needs its folder, which survives it, and the member's API server; the hub it needs for news
// only. Everything that it holds it goes on applying and repairing while the hub is gone.
package agent
