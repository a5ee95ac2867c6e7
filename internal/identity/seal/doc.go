// Package seal answers: did the hub make this Release, as it is? Did it say this, to this agent and now?
//
// A hub signs each Release when it has rendered it. The signature goes with the Release through the hub's API, every replica and
// the session to the agent, which verifies it before it keeps an order: whoever may write Releases, or the registry, or is
// between the two, cannot make an agent apply what the hub did not render.
//
//  1. A Statement is what is signed: which Package, Release and revision, by whom the source was signed, and the contents of all
//     variants as the root of a tree of hashes (golang.org/x/mod/sumdb/tlog, after RFC 6962).
//  2. Sign signs it with a key whose certificate a CA of the fleet issued for signing and nothing else.
//  3. Of the content of one variant, Prove makes what an agent needs: the root, and the few hashes that lead from the content to
//     it. A Release may have thousands of variants, and an agent gets one.
//  4. Verify follows that way back, to a CA that is trusted.
//
// What the hub says to an agent in a session is a Word, signed by the same key: a package's account and policy, that it is to go, the
// agent's program, the CAs. It counts once, for the session whose nonce it names.
//
// Laws:
//   - The root of trust is the fleet's CA, by which an agent knows its hub anyway: it rotates, is endorsed and is distrusted with
//     it, and there is nothing else to hand out, to pin or to lose.
//   - A certificate of the CA that is not for signing signs nothing: those of agents and of the gateway are of the same CA.
//   - The clock does not matter. An agent whose clock is wrong must not stop, and what ends a key is that its CA is distrusted.
//   - What is signed is one text with every value quoted, so that no two statements have the same one.
package seal
