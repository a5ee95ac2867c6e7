// Package trust answers: by which certificate authority (CA) do the hub and its members know each other, and how does it
// make room for the next one without anybody losing anybody?
//
// All of it is in one Secret, umbel-member-ca, so that no half of a change is ever seen: the CA that issues, with its key;
// the next one, with its key, while a rotation is announced; those that are still accepted, retired or distrusted; and
// the endorsements; and the key by which the hub seals Releases (package identity/seal), whose certificate the issuing CA gives. Every replica of the hub follows the Secret; the driver, which one replica runs, changes it, under its
// resourceVersion. The certificate that the gateway serves with is made by each replica for itself and never leaves it.
//
// A rotation, in steps, each one write of the Secret:
//
//  1. Announced: a new CA is there. Every agent in session is sent the bundle old + new, and says that it keeps it; so does
//     every answer, and hub-info for people. The old CA goes on issuing.
//  2. Switched: once every connected member keeps the bundle, or has not for an hour, the new CA issues and the gateway
//     serves with a certificate of it. The old CA endorses the new one, and its key is gone. Agents are asked to
//     renew, each at a moment of its own in the next minutes.
//  3. Settled: after an overlap in which every certificate of the old CA has ended, it is retired: not in the bundle any
//     more, and what it issued is refused.
//
// Laws, with their reasons:
//
//   - A member that was away comes back. The gateway serves with the chain of endorsements from the CA that issues back to
//     the first one, so whoever trusts any of them, until it expires, knows the hub. It proves its pinned key, gets a
//     certificate and the bundle of today.
//   - A stolen key is worth nothing: a rotation because of it endorses nothing, drops all endorsements of before, and has
//     the agents distrust every earlier CA, also the one in their bootstrap. It waits until all members that have a
//     pinned key keep the new CA, also those that are not connected now, or a person says Finish; who does not keep it then needs
//     `umbel join` again.
//   - Nobody is refused for long on the word of a replica that is behind: before a certificate counts as foreign the Secret is
//     read, though once a second at most (five at once): beyond that an agent that is right comes again, and anybody can ask.
//   - A session is never ended by a rotation: certificates are looked at when one begins.
//   - A CA that nears its end is announced for in the log and by `umbel ca status`, a year before, and half a year before
//     the hub rotates it by itself: an authority that ended would brick everybody at once.
//
// Left to others: the pinned key, which decides (package gateway), and what is said in a session (package session).
package trust
