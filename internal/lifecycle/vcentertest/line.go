package vcentertest

import (
	"io"
	"net"
	"sync"
)

// line is the way to a server, at an address of its own that stays the same.
type line struct {
	address, to string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

// lay lays a line to a server.
func lay(to string) (*line, error) {
	l := &line{address: "127.0.0.1:0", to: to}
	if err := l.mend(); err != nil {
		return nil, err
	}
	l.address = l.listener.Addr().String()
	return l, nil
}

// cut ends all that goes over the line. What comes now is refused.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close() // it may be cut already
	for conn := range l.open {
		_ = conn.Close()
	}
	l.open = nil
}

// mend lets connections in again, at the same address. It fails when somebody else has it by now.
func (l *line) mend() error {
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener, l.open = listener, map[net.Conn]bool{}
	go l.accept(listener)
	return nil
}

func (l *line) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // it was cut
		}
		server, err := net.Dial("tcp", l.to)
		if err != nil || !l.keep(client, server) {
			_ = client.Close()
			continue
		}
		go l.carry(client, server)
		go l.carry(server, client)
	}
}

// keep notes both ends of a connection, unless the line is cut.
func (l *line) keep(ends ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range ends {
		if l.open == nil {
			_ = end.Close()
			continue
		}
		l.open[end] = true
	}
	return l.open != nil
}

// carry carries what one end says to the other one, until either is closed.
func (l *line) carry(from, to net.Conn) {
	_, _ = io.Copy(to, from) // an end that is closed is no news
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range []net.Conn{from, to} {
		_ = end.Close()
		delete(l.open, end)
	}
}
