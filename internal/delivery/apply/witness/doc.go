// Package witness answers, on a member: who changed or deleted this object, by the audit log of the member's own API server?
//
// A watch tells that an object is gone and not who deleted it, and managed fields name nobody who took a field away. The audit log does.
// A Witness reads it and is asked (Ask) by whoever noticed a drift.
//
//  1. Follow each file of the pattern (follow.go), from its end when it is there at the start, and across rotation. A file that is not
//     there is waited for, and said to be missing once.
//  2. Of each line take who asked for what and when, where it is a change or a deletion that went well, of an object that is applied
//     here, and not by the agent (deed.go). Nothing else is kept of a line, and no body is looked at.
//  3. Keep the latest deeds for a minute, and a bounded number of them.
//  4. A second after a question was asked find who did it among them (plan.go), and look again until half a minute has passed: a line
//     comes before or after the event of a watch.
//
// Laws, with their reasons:
//
//   - Nobody is named who may not have been it. Where two could have, or a request does not fit in time, nobody is.
//   - The log decides nothing but a name: whatever is in it, or is not, what should be here is put back all the same.
//   - What it costs is bounded, whoever writes into it: a line, the lines of a look, the deeds, the questions and the files.
//
// It writes nothing. What becomes of a name is left to package apply.
package witness
