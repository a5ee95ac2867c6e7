// Package signin answers: whose token is this, by the word of an identity provider that the hub's people trust?
//
// Which providers those are says a file of Kubernetes' own kind AuthenticationConfiguration (apiserver.config.k8s.io),
// the one that kube-apiserver reads with --authentication-config. A Verifier:
//
//  1. Reads the file, strictly, and checks it as kube-apiserver does. At the start a file that is wrong is an error.
//  2. Verifies tokens with kube-apiserver's own authenticator: signature, issuer, audience, times, claims and rules. A
//     token of an issuer that the file does not name is left to others.
//  3. Reads the file again every few seconds. What has changed counts once its providers have been heard, or after a
//     while without; a file that has become wrong, or is gone, changes nothing and is logged.
//
// It also says what a program needs to know to sign somebody in (Issuers). That is no secret.
//
// Laws, with their reasons:
//
//   - A name that begins with "system:" is never taken from a provider: those are Kubernetes' own, and whoever writes
//     the groups of people must not be able to write system:masters.
//   - A provider that does not answer harms those whom it vouches for, and nobody else.
//   - No token is in an error or a log.
//
// Left to others: certificates and ServiceAccounts (package gateway asks the API), and what somebody may.
package signin
