package gateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"umbel.dev/umbel/internal/gateway/lobby"
	"umbel.dev/umbel/internal/session"
)

const (
	// maxStrangers is how many connections there may be whose other end is not known: with all that each may send, half a
	// gigabyte, and few of the files that a process may have open.
	maxStrangers = 1024
	// patience is how long such a one may take when there is no room for another; an honest one takes a second on a bad line.
	patience = 3 * time.Second
	// What is read before it is known who is there: from an agent, from one that has shown a certificate of this hub and is
	// refused nevertheless, which says Hello before it hears why, and from who speaks HTTP.
	bytesOfStranger    = 512 << 10
	bytesOfRefused     = session.MaxFrame + 1<<20
	bytesOfUnknownHTTP = 4 << 20
)

// strangers are the connections whose other end is not known yet.
type strangers struct {
	*lobby.Lobby
	log      *slog.Logger
	failures *rate.Limiter // how many handshakes that failed are logged
	unlogged atomic.Int64
}

func newStrangers(log *slog.Logger) *strangers {
	return &strangers{log: log, failures: rate.NewLimiter(1, 20), Lobby: lobby.New(lobby.Config{
		Room: maxStrangers, Patience: patience, Bytes: bytesOfStranger,
		ThrownOut: func(peer net.Addr) {
			log.Debug("a connection had to go: its other end did not say who it is, and others wait", "peer", peer)
		},
	})}
}

// failed logs a handshake that failed, such as that of somebody who speaks an old TLS. It takes nothing to fail one, so that
// a few are logged and the others counted.
func (s *strangers) failed(peer net.Addr, err error) {
	if !s.failures.Allow() {
		s.unlogged.Add(1)
		return
	}
	s.log.Warn("a connection was refused", "peer", peer.String(), "error", err, "notLogged", s.unlogged.Swap(0))
}

// withGuest is the http.Server.ConnContext that tells over which connection a request came.
func withGuest(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		if guest, ok := secure.NetConn().(*lobby.Guest); ok {
			return lobby.With(ctx, guest)
		}
	}
	return ctx
}
