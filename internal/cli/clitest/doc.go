// Package clitest answers: what do tests of commands share? A clock that stands, a small fleet in every state that
// matters, golden files (`go test ./internal/cli/... -update` writes them anew), and a hub's API to run verbs against.
//
// Only tests import it.
package clitest
