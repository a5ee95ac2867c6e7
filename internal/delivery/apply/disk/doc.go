// Package disk answers: what does the agent remember of a package when everything else is gone? It reads and writes one
// folder per package and knows nothing of the member or the hub.
//
//	order.json       what is asked for
//	inventory.jsonl  what may be on the member
//	journal.jsonl    what was learnt of these objects since the inventory was written
//	SHA256.zst       content, as pulled and verified
//	package          whose the folder is, where the package's name is too long for the folder's
//
// What was deleted is in a folder of its own (Deletions), since it outlives its package:
//
//	ID/deletion.json     what was deleted, when, and why
//	ID/NNNNNN.jsonl.zst  the objects as they were, on the disk before any of them is deleted
//
// So is what happened to objects (History): history.jsonl, which is appended to, and history.old.jsonl, which it was.
//
// Orders, inventories and content are written whole beside the old file, flushed to the disk, and renamed over it: after
// a crash there is the old one or the new one. The journal is appended to without a flush: what a power failure takes
// of it is found out again from the member, at the cost of a request or two for each object. The history is too: what a power failure
// takes of it is not known any more.
package disk
