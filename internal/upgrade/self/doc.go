// Package self answers: how does an agent become another program, and come back when that goes wrong?
//
// It runs in the member. The hub says which program the agent is to run (wire.Upgrade) and hears what became of it; nothing
// else of it needs the hub, and no step of it needs the hub's word. What an upgrade has come to is in a Record, which outlives
// every process: an annotation of the agent's Deployment, or a file in the folder of an agent that runs as a process.
//
//  1. Rehearse. The new program is fetched and run beside the agent, as it would run in its place: it reads the agent's papers
//     and what is on its disk, asks the API server, and leads a rehearsal with the hub (session.Client.Rehearse). It writes
//     nothing. The agent goes on all the while. A program that cannot be pulled, ends, hangs, or cannot get into session is
//     found out here: the upgrade Failed, and nothing was changed.
//  2. Arm. A guard is made from the program that is proven, the old one: a Job, or the process that starts agents.
//  3. Switch. The guard, and nobody else, puts the new program in the agent's place. So there is no switch without a guard.
//  4. Prove. The new agent is in session and its API server answers: it writes Done into the record.
//  5. When that is not there in time, or the program ends again and again, the guard puts the old one back: RolledBack.
//
// Laws, with their reasons:
//
//   - Every step is a change of the record that only one can make (by resourceVersion, or by there being one process): that the
//     new agent proved itself and that the guard gave up cannot both be.
//   - The image changes in the same write as the record. Killed at any instant, the next life of whoever was killed reads what
//     is so and carries on from there.
//   - Two agents never write at once: a Deployment of the strategy Recreate has one pod, a guard's child is dead before
//     another begins, and a rehearsal writes nothing. For agents that run as processes, the kernel's lock on the folder says
//     so besides (Hold).
//   - An agent that failed a build tries it again when the hub names another attempt, and not by itself: a loop of restarts
//     would be worse than an old agent.
//   - A person who changes the image meanwhile is right: the guard lets go.
//   - An agent of a pod never runs a program that is not its image's: who signs and scans images has to be able to rely on it.
//
// Left to others: who may change when (package upgrade, on the hub), and the words on the wire (package session).
package self
