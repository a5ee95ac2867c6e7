// Package login answers: how does somebody on any computer become themselves for a hub? It is the verbs `umbel login` and
// `umbel logout`, and the hidden `umbel credential` that kubectl calls.
//
// `umbel login https://HOST:PORT`:
//
//  1. Find out whom to trust (trust.go), and ask the hub with which identity provider its people sign in.
//  2. Have the person sign in there (package provider), in a browser or on another machine.
//  3. Ask the hub who that is. Nothing is kept before it has accepted them.
//  4. Keep the session (package session), and write kubeconfigs in which `umbel credential` is the credential: one in the
//     data folder, which all verbs of umbel use from then on, and a context in the person's own.
//
// Laws, with their reasons:
//
//   - No hub is trusted blindly: its certificate is one that the computer trusts, or is below --ca, or below an authority
//     whose fingerprint the person has confirmed. Until then nothing goes to it but a question without credentials.
//   - No token is in a kubeconfig, an error or what is printed; tokens are in the session's file and in what `umbel
//     credential` prints to the program that called it.
package login
