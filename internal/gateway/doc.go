// Package gateway answers: who may come through the hub's one open door, and to what?
//
// Agents and people reach the hub at the same addresses. The TLS handshake tells them apart: who asks for the protocol
// "umbel/1" is an agent and gets a session, everybody else speaks HTTP:
//
//	POST /v1/join         an agent's first certificate, for its token; later ones, for its pinned key
//	/clusters/NAME/…      the API server of a member, as the person who asks
//	/hub/…                the hub's own API, as the person who asks
//	GET /v1/login         with which identity providers people sign in
//	POST /hooks/…         what servers that host repositories say of pushes (hooks.go)
//	GET /v1/audit         who did what, to whom may read it (audit.go)
//	/api/v1/…             Prometheus' HTTP API of what agents measured, to whom may see that (metrics.go)
//	GET /content/…        what a Release was rendered to, to whom may read releases/content (release.go)
//	GET /history/NAME     what happened to objects on a member, from its agent, to who may read the MemberCluster (history.go)
//	/v2/umbel/agent/…     the agent's image, to read
//	/console/…            the web console, and / for browsers (browser.go)
//	/replica/audit        this replica's audit log, for another one
//	/replica/clusters/…   the API server of a member that is in session here, for another replica of the hub
//	GET /healthz          is the hub there?
//	GET /readyz           are new agents and people to come here?
//
// An agent, in order:
//
//  1. The handshake proves that it has the key of its certificate. The certificate itself is verified after it, so
//     that a refusal is a sentence that arrives: on the agent, in the log, and in the MemberCluster's condition.
//  2. It was issued by this hub, is valid now, its MemberCluster exists, and its key is the pinned one. Before anybody
//     is refused because of the MemberCluster, the API is asked, not the cache.
//  3. Package session leads the conversation; package gateway/members keeps what it hears and writes the status.
//
// A cluster may come by itself, with a token for many (`umbel token create`) and a name of its own. The gateway makes its
// MemberCluster with the labels of the token, admitted or waiting for approval as the token says (register.go).
//
// A person, in order: authenticated by a token of an identity provider that the hub trusts (package signin), by a client
// certificate of the hub API's CA, or by TokenReview; authorised by SubjectAccessReview, verb "proxy" on
// memberclusters/NAME; sent through the tunnel, where the agent impersonates them. At /hub it is the hub that impersonates
// them, and its own API's RBAC decides.
//
// The hub may run as several replicas behind one address. An agent is in session with any of them; a person who comes in
// at another one is authenticated and authorised there, and sent on to the one that has the member (peers.go). Which
// replicas there are says package gateway/replicas, and which of them writes a member's status package gateway/members.
//
// Laws, with their reasons:
//
//   - The pinned key decides. A token serves once, to pin a key, and is gone before another key can be pinned; a key is pinned
//     in the API before its certificate is handed out, so a crash in between is repeated, never exploited.
//   - A token for many makes what is not there and changes nothing that is: not a name that somebody has, nor its labels.
//     It is bounded in number, time and rate, and of the fleet it tells nothing but that a name is taken.
//   - Who is kept out by the hub's people (spec.admission), or has a key that they revoked (spec.revokedKeys), gets no
//     certificate and no session; package members ends the one that is there.
//   - The hub lends nobody its own rights: a request to its API names a person, or is not made. Who they are follows from
//     their credentials alone; whoever says so by a header as well is refused.
//   - The hub holds no member credential: what goes through a tunnel carries a name, never a secret.
//   - What people do to members, and what the gateway itself does to them, is in the audit log (package audit), refusals
//     included; an order is there before its agent hears it.
//   - What members serve has the origin of the console, and must not act as its page: a browser that looks at it by itself shows
//     it in a sandbox, without an origin. The console's cookie opens nothing but the console.
//   - The registry is for reading. Content goes through an agent's session, where each member gets what it is to hold now
//     and nothing else: a stolen key harms its own member alone.
//   - Whoever is refused is logged with the reason, and pays: failed joins are counted per address. It shows in the status
//     of a member only when a certificate of this hub proves whose agent it was; a wrong token shows as long as the member
//     waits for its first agent.
//   - That an agent is no member (session.ReasonNoMember) is said only when the API says so: an agent that has let go takes
//     itself away then.
//   - Of connections whose other end is not known there are so many and no more, they take so long, and so much is read from
//     each (package lobby, strangers.go). Who opens many pays with its own.
//   - Nobody fills the hub's memory by asking members, or its own API, for much and reading nothing: answers that wait for
//     their reader are counted, by person and by member (unread.go).
//   - State is in the API: the members' CA is a Secret, so any replica can take over. Each serves with a certificate of its
//     own. What one replica says to another goes over mutual TLS with certificates of that CA which are good for nothing else, of a key
//     that the replica's Lease names: who has the CA's key, and no access to the hub's API, is nobody here.
//
// Left to others: who issues and who is trusted (package gateway/trust), the conversation (package session), bytes (package
// tunnel), what is desired (package delivery).
package gateway
