// Package tunnel answers: how do hub and agent talk over the one connection that the agent opened?
//
// The agent dials the hub with TLS 1.3 and ALPN "umbel/1" and proves its key with a client certificate; the hub looks
// at that certificate after the handshake, so that a refusal can say why. Over the connection runs yamux. Both ends
// hold the same type, Session, and either end opens streams.
//
// The protocol, in order:
//
//  1. TLS 1.3, ALPN "umbel/1". A peer that agrees on nothing or on something else is not one of ours.
//  2. yamux frames (https://github.com/hashicorp/yamux/blob/v0.1.2/spec.md); the dialing end is the yamux client.
//  3. The first byte of each stream is its Kind and says what follows.
//
// Laws, with their reasons:
//
//   - A stream that its session took along ends with ErrClosed, never with io.EOF: a cut is not the end of the data.
//   - Close on a stream unblocks its readers at once, as on any net.Conn; yamux alone does not. CloseWrite half-closes.
//   - Close on a session waits for every goroutine that the session started: nothing is left behind.
//   - An idle session sends nothing and owns no timer. Whether the peer lives is found out by probes on the control
//     stream (package session), which go end to end; yamux's own keep-alive is off.
//   - Streams that move much take turns, and control streams wait for none of them (turns.go): on a slow line that people
//     and content fill, a probe still comes through. What a peer does not read holds up nobody's turn.
//   - Each end bounds what the other may open (Config.MaxStreams): a broken peer harms its own session alone.
//
// It knows no names of clusters, no messages and no Kubernetes. Runs in the hub and in the agent.
package tunnel
