// Package session answers: as whom is somebody signed in to a hub, and for how long still?
//
// A Session is a file below the data folder, for its owner alone: the hub, the provider, an ID token and a refresh token.
// Token returns an ID token that is still good, and gets the next one when it is not:
//
//  1. Read the file. If its token lasts for a while, that is it.
//  2. Otherwise take the lock beside it, and read again: another program may have got the next one meanwhile. Providers
//     give a refresh token that serves once; two programs that used it at the same time would lose the session.
//  3. Ask the provider, and replace the file as a whole before anybody gets the token.
//
// Laws, with their reasons:
//
//   - A provider that does not answer ends nothing: the file stays, and a token that is still good is used.
//   - Only the provider's own no ends a session, and the error says what to do. No token is in it.
package session
