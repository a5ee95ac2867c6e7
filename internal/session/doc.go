// Package session answers: what do hub and agent say to each other, and when?
//
// It speaks the messages of api/wire as frames on the Control stream of a tunnel. One function runs each end: RunHub
// and RunAgent; Client is the agent's loop around them that joins, dials, renews and dials again. What is desired,
// where it is stored and what became of it is the caller's: this package owns the conversation only.
//
// A session, in order:
//
//  1. The agent sends Hello: the protocol versions that it speaks, and everything that it holds.
//  2. The hub answers Welcome, or Refusal with the reason and the next step.
//  3. The hub sends what differs between what the member is to hold and what the agent said (Diff), one DesiredState at
//     a time; the agent stores it on disk and acknowledges; the next difference is computed after that. A NACK is
//     tried again with backoff, or when something else is desired.
//  4. The agent reports the states of packages that changed, at most ten times a second, the latest only.
//  5. The hub probes every interval (5 s, jittered; more with over 5,000 agents, see Pace, and each probe says so). The agent asks its API server and answers. Three intervals without
//     an answer end the session; three intervals without a word from the hub make the agent dial anew. While bytes
//     of the peer arrive in other streams the line is there and full: then it is four times as long.
//  6. Between a half and three quarters of its certificate's life the agent asks for a new one with the same key.
//  7. Detach: the agent lets go of what it applied, writes that down, says Detached, and waits. The hub takes
//     note, lets the MemberCluster go, and refuses the agent because it is no member. Then the agent is done, and does
//     not come back. When a session ends before that, the next one carries on: the hub says Detach again while the
//     MemberCluster is there, and refuses when it is not; an agent that has let go says so at once.
//
// Laws, with their reasons:
//
//   - What the hub says is under its seal (words.go), but for Probe: signed for one agent, its nonce of this session, and
//     the place among what was said before. The line alone is believed only where the hub has never sealed anything (ADR 0042).
//   - Absence says nothing. The hub names what is to be pruned; a package that it does not name stays, whatever else
//     happens, because a hub that knows little must not take anything away.
//   - An agent goes for good when it has let go and the hub has said that it is no member (ReasonNoMember); neither alone
//     suffices. So either end may die between any two steps, and a refusal by mistake takes nothing away.
//   - Before the hub knows what a member is to hold it says nothing about it.
//   - Nothing is remembered across sessions but that the agent has let go: Hello says what it holds, so neither end can be
//     wrong about it.
//   - One goroutine reads and one decides and writes; a peer that floods is slowed by back-pressure, and one that does
//     not read runs into a deadline. A frame is bounded (MaxFrame) and costs memory only as it arrives.
//   - Large messages come in parts, and a deadline is for a piece of one: on a slow line much takes long, and is not a dead
//     peer. Between the parts probes are answered.
//   - An idle session sends one small probe and its answer per interval, and nothing else.
//
// Left to others: carrying bytes (package tunnel), keys and certificates (package identity), who may connect and what
// people see (package gateway), what is desired (package delivery), applying it (delivery/apply).
package session
