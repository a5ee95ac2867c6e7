// Package provider answers: how does a person prove to a program on their own computer who they are?
//
// By going to their identity provider, which gives the program an ID token for the hub, and a refresh token for later:
//
//  1. Discover asks the provider what it offers (OpenID Connect Discovery 1.0).
//  2. Browser has the person sign in in their browser: authorization code with PKCE (RFC 7636), which comes back to a port
//     of loopback (RFC 8252). Device has them do it on another machine (RFC 8628).
//  3. Visit and Exchange do the same for a page of the hub, which people come back to in place of loopback.
//  4. Refresh gets the next ID token without them.
//
// Laws, with their reasons:
//
//   - A code counts only if it comes back with the state that went out, and a token only if it is of this issuer, for this
//     client, and, after a browser, with this nonce: another page of the browser must not sign somebody else in.
//   - The token comes from the provider over TLS, so its signature is not looked at here (OpenID Connect Core, 3.1.3.7); the
//     hub does.
//   - No token, code or verifier is in an error.
package provider
