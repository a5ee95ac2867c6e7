// Package agent answers: what runs in a member? agent.go has the list.
//
// One process per member. It needs its folder, which survives it, and the member's API server; the hub it needs for news
// only. Everything that it holds it goes on applying and repairing while the hub is gone.
//
// Its time in a fleet is a membership, from `umbel join` to `umbel leave`:
//
//  1. The bootstrap begins it. Another bootstrap begins another one, without a restart.
//  2. The hub tells the agent to let go. It prunes, if that is asked for, stops repairing, and writes a farewell.
//  3. The hub says that it is no member. Then, and only with its farewell, it deletes its Namespace, then its folder.
//
// Killed between any two of these steps it carries on there. A farewell is about one membership: what was let go of in an
// earlier one and not yet forgotten is forgotten when the next begins.
package agent
