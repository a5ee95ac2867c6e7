// Package member answers: how are objects on the member's API server written, deleted, watched and read? It decides
// nothing. Of an object it returns the metadata alone, and its health: the agent has no use for the rest.
//
// Everything is written by server-side apply with Umbel's field manager. What another manager did is found by our entry
// in managedFields, which changes when, and only when, somebody takes a field of ours (Observe).
package member
