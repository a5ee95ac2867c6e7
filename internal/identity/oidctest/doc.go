// Package oidctest answers: what does a real identity provider say? It is for tests only.
//
// Start runs umbel-dex (tools/dex), which is Dex with its own pages, keys and tokens, as a process on loopback. A test
// signs people in there through a Browser, and does what the administrators of a provider do: rotate its key, end
// sessions, let people go, set its clock, stop it. Nothing of the provider is faked; the Browser is an HTTP client that
// follows redirects and fills in forms.
package oidctest
