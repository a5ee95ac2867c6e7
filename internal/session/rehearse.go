package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/tunnel"
)

// A rehearsal is how an agent that is to take another's place finds out whether it could: the handshake, the certificate,
// the protocol, and a probe that goes from the hub through the agent to the member's API server and back. The hub's second
// probe says that the answer to the first has arrived. Nothing of it touches the session that the member is in.

// Rehearse plays the agent's part of a rehearsal at the hub of a client's bootstrap.
func (c *Client) Rehearse(ctx context.Context) error {
	if c.keyring.Certificate() == nil { // whether one is valid is for the hub to say: the clock here may be wrong
		return errors.New("rehearsing a session: the agent has no certificate")
	}
	tun, err := tunnel.Dial(ctx, c.dial(c.keyring.TLS()))
	if err != nil {
		return fmt.Errorf("rehearsing a session: %w", err)
	}
	defer tun.Close()
	stream, err := tun.Open(ctx, tunnel.Rehearsal)
	if err != nil {
		return fmt.Errorf("rehearsing a session: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	if err := c.rehearse(ctx, stream); err != nil {
		return fmt.Errorf("rehearsing a session with the hub at %s: %w", c.config.Bootstrap.Address, err)
	}
	return nil
}

func (c *Client) rehearse(ctx context.Context, stream net.Conn) error {
	reader := bufio.NewReaderSize(stream, 512)
	hello := &wire.Hello{Protocol: wire.Protocol, MinProtocol: wire.MinProtocol, AgentVersion: c.config.Agent.Version}
	answer, err := greet(stream, reader, hello)
	if err != nil {
		return err
	}
	if refusal := answer.GetRefusal(); refusal != nil {
		return &Refused{Reason: refusal.GetReason(), Message: refusal.GetMessage()}
	}
	if err := awaitProbe(stream, reader); err != nil {
		return err
	}
	if _, err := c.config.Agent.CheckAPI(ctx); err != nil {
		return err
	}
	if err := send(stream, &wire.FromAgent{Message: &wire.FromAgent_ProbeAnswer{ProbeAnswer: &wire.ProbeAnswer{Nonce: 1}}}, helloTimeout); err != nil {
		return err
	}
	return awaitProbe(stream, reader)
}

func awaitProbe(stream net.Conn, reader *bufio.Reader) error {
	stream.SetReadDeadline(time.Now().Add(helloTimeout))
	for {
		var message wire.FromHub
		if err := ReadFrame(reader, &message); err != nil {
			return fmt.Errorf("waiting for the hub's probe: %w", ended(err))
		}
		if message.GetProbe() != nil {
			return nil
		}
	}
}

// HostRehearsal plays the hub's part, and closes the stream.
func HostRehearsal(ctx context.Context, stream net.Conn, version string, log *slog.Logger) error {
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	hello, reader, err := readHello(stream)
	if err != nil {
		return err
	}
	if err := checkHello(hello); err != nil {
		return errors.Join(err, refuse(stream, "BadHello", err.Error()))
	}
	protocol, err := Negotiate(hello, wire.MinProtocol, wire.Protocol)
	if err != nil {
		return errors.Join(err, refuse(stream, v1alpha1.ReasonProtocolMismatch, err.Error()))
	}
	welcome := &wire.Welcome{Protocol: protocol, HubVersion: version, ProbeIntervalMillis: uint32(DefaultProbeInterval.Milliseconds())}
	if err := send(stream, &wire.FromHub{Message: &wire.FromHub_Welcome{Welcome: welcome}}, helloTimeout); err != nil {
		return err
	}
	probe := &wire.FromHub{Message: &wire.FromHub_Probe{Probe: &wire.Probe{Nonce: 1}}}
	if err := send(stream, probe, helloTimeout); err != nil {
		return err
	}
	stream.SetReadDeadline(time.Now().Add(2 * helloTimeout))
	var answer wire.FromAgent
	if err := ReadFrame(reader, &answer); err != nil {
		return fmt.Errorf("waiting for the answer to a rehearsal's probe: %w", ended(err))
	}
	log.Info("an agent rehearsed", "version", hello.GetAgentVersion(), "protocol", protocol)
	return send(stream, probe, helloTimeout)
}
