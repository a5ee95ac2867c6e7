package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// DialConfig says how to reach a hub.
type DialConfig struct {
	// Address of the hub, as HOST:PORT.
	Address string
	// TLS holds the hub's CAs and this end's certificate. The protocol and its lowest version are set by Dial.
	TLS *tls.Config
	// Proxy says whether there is a proxy on the way. The default is what the environment says, as ProxyOf has it.
	Proxy Proxy
	// Timeout covers connecting and the TLS handshake. The default is 15 s.
	Timeout time.Duration
	// Config tunes the session.
	Config Config
}

// Dial connects to a hub and returns the session.
func Dial(ctx context.Context, config DialConfig) (*Session, error) {
	if config.Timeout == 0 {
		config.Timeout = 15 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, config.Timeout)
	defer cancel()

	settings := config.TLS.Clone()
	settings.MinVersion = tls.VersionTLS13
	settings.NextProtos = []string{Protocol}
	host, _, err := net.SplitHostPort(config.Address)
	if err != nil {
		return nil, fmt.Errorf("the hub's address %q is not HOST:PORT: %w", config.Address, err)
	}
	settings.ServerName = host
	raw, err := config.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("dialing hub %s: %w", config.Address, err)
	}
	conn := tls.Client(raw, settings)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fmt.Errorf("dialing hub %s: %w", config.Address, ExplainTrust(explainDial(err), config.TLS.Time))
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != Protocol {
		conn.Close()
		return nil, fmt.Errorf("dialing hub %s: %w", config.Address, errNotAHub)
	}
	session, err := Client(conn, config.Config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return session, nil
}

// errNotAHub says what a server means that refuses our protocol.
var errNotAHub = errors.New("the server does not speak " + Protocol + "; is this the address of a hub's gateway?")

func explainDial(err error) error {
	// The TLS alert no_application_protocol (RFC 7301, 3.2); crypto/tls keeps its type to itself.
	if strings.HasSuffix(err.Error(), "no application protocol") {
		return errNotAHub
	}
	var notTLS tls.RecordHeaderError
	if errors.As(err, &notTLS) {
		return fmt.Errorf("the server does not speak TLS: %w", errNotAHub)
	}
	return err
}

// Handshake completes the TLS handshake of a connection that was accepted, within timeout. A connection that fails it
// is closed.
func Handshake(ctx context.Context, conn *tls.Conn, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return errors.Join(fmt.Errorf("TLS handshake with %s: %w", conn.RemoteAddr(), err), ignoreClosed(conn.Close()))
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
