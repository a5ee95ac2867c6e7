// Package kubeproxy answers: how does a person's request reach a member's API server as that person?
//
// The hub has found out who asks and that they may ask at all. It says so in one header, IdentityHeader, of the request
// that it sends over a Kube stream; the agent forwards the request to the member's API server with its own credentials
// and impersonates that person. The member's RBAC decides what they may do there, and its audit log shows them.
//
// Both ends are here, because what one writes the other reads:
//
//   - On the hub, Forward sends a request into the tunnel.
//   - On the agent, NewHandler serves what comes out of it.
//
// Laws, with their reasons:
//
//   - A client never chooses who it is: Forward refuses requests that carry impersonation or identity headers, and the
//     handler drops whatever of the kind still arrives, credentials included, before it sets its own.
//   - A request without an identity is refused: the agent's own rights are never lent out.
//   - A name that begins with "system:" means something of its own in every cluster. system:masters of the hub is not
//     system:masters of a member, and a ServiceAccount of the hub is not the member's of the same name. Such users and
//     groups appear on the member as "hub:system:…", which its RBAC may bind; only system:authenticated passes as it is.
//   - Upgrades (exec, attach, port-forward; SPDY and WebSocket) go through, over HTTP/1.1, since HTTP/2 has none.
package kubeproxy
