package lobby

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"umbel.dev/umbel/internal/tunnel"
)

// ErrTooMuch is what reading from a stranger ends with that has sent more than it may.
var ErrTooMuch = errors.New("more was sent than is read from somebody who is not known")

// Config bounds a lobby. All fields are required.
type Config struct {
	// Room is for so many connections.
	Room int
	// Patience is how long a connection may be here when there is no room for another.
	Patience time.Duration
	// Bytes is how much is read from a connection, unless Allow says otherwise.
	Bytes int64
	// ThrownOut hears of each connection that had to go. Optional.
	ThrownOut func(remote net.Addr)
}

// Lobby holds the connections of those who are not known yet. It is safe for concurrent use.
type Lobby struct {
	config Config

	mu     sync.Mutex
	guests map[*Guest]bool
	left   chan struct{} // holds a token when somebody has left
}

// New returns an empty lobby.
func New(config Config) *Lobby {
	return &Lobby{config: config, guests: map[*Guest]bool{}, left: make(chan struct{}, 1)}
}

// Guest is a connection that is or was in a lobby.
type Guest struct {
	*tunnel.Socket

	lobby *Lobby
	since time.Time
	from  netip.Prefix

	mu      sync.Mutex
	known   bool
	allowed int64
	read    int64
}

// Enter takes a connection in, which may take until another one has left. It says false, and closes the connection, when
// ctx ends before that. Whoever accepts connections calls it, one for each address that is listened on.
func (l *Lobby) Enter(ctx context.Context, conn *net.TCPConn) (*Guest, bool) {
	g := &Guest{Socket: tunnel.NewSocket(conn), lobby: l, since: time.Now(), from: block(conn.RemoteAddr()), allowed: l.config.Bytes}
	for !l.admit(g) {
		wait := time.NewTimer(l.throwOut())
		select {
		case <-l.left:
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			conn.Close()
			return nil, false
		}
		wait.Stop()
	}
	return g, true
}

func (l *Lobby) admit(g *Guest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.guests) >= l.config.Room {
		return false
	}
	l.guests[g] = true
	return true
}

// throwOut ends the connection that has to go for another one, or returns how long to wait for that.
func (l *Lobby) throwOut() time.Duration {
	l.mu.Lock()
	count := map[netip.Prefix]int{}
	for g := range l.guests {
		count[g.from]++
	}
	var who *Guest
	for g := range l.guests {
		if who == nil || count[g.from] > count[who.from] || count[g.from] == count[who.from] && g.since.Before(who.since) {
			who = g
		}
	}
	l.mu.Unlock()
	if who == nil {
		return time.Millisecond // the last one has just left
	}
	if wait := l.config.Patience - time.Since(who.since); wait > 0 {
		return wait
	}
	if l.config.ThrownOut != nil {
		l.config.ThrownOut(who.RemoteAddr())
	}
	who.SetLinger(0) // nothing of it is to stay in the kernel
	who.Close()
	return time.Millisecond
}

// Count returns how many are here.
func (l *Lobby) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.guests)
}

func (l *Lobby) leave(g *Guest) {
	l.mu.Lock()
	_, here := l.guests[g]
	delete(l.guests, g)
	l.mu.Unlock()
	if !here {
		return
	}
	select {
	case l.left <- struct{}{}:
	default:
	}
}

// Known says that it is known by now who is at the other end: the connection leaves the lobby, and is read without a bound.
func (g *Guest) Known() {
	g.mu.Lock()
	g.known = true
	g.mu.Unlock()
	g.lobby.leave(g)
}

// Allow sets how many bytes are read in all before the connection is known.
func (g *Guest) Allow(bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.allowed = bytes
}

// Read implements net.Conn.
func (g *Guest) Read(p []byte) (int, error) {
	g.mu.Lock()
	tooMuch := !g.known && g.read >= g.allowed
	g.mu.Unlock()
	if tooMuch {
		return 0, ErrTooMuch
	}
	n, err := g.Socket.Read(p)
	g.mu.Lock()
	g.read += int64(n)
	g.mu.Unlock()
	return n, err
}

// Close implements net.Conn.
func (g *Guest) Close() error {
	g.lobby.leave(g)
	return g.Socket.Close()
}

// block is whose an address is: one customer has a whole /64 of IPv6.
func block(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// guestKey is where the context of a request has the connection that it came over.
type guestKey struct{}

// With returns a context in which From finds the guest.
func With(ctx context.Context, g *Guest) context.Context {
	return context.WithValue(ctx, guestKey{}, g)
}

// Recognised says that whoever made the request that ctx belongs to is known.
func Recognised(ctx context.Context) {
	if g, ok := ctx.Value(guestKey{}).(*Guest); ok {
		g.Known()
	}
}
