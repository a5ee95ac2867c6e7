// Package linetest answers: how does somebody whom tests have get out of reach, with all that he knows, and come back? By the line to him, which
// is cut and mended.
package linetest

import (
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
)

// Line is the way to a server.
type Line struct {
	// Address is HOST:PORT of the line itself, which stays the same.
	Address string
	// To is HOST:PORT of the server, which is there while the line is cut.
	To string

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

// Lay lays a line to a server at HOST:PORT, which ends with the test.
func Lay(t testing.TB, to string) *Line {
	t.Helper()
	address, err := reserve(t)
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{Address: address, To: to}
	if err := l.Mend(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Cut)
	return l
}

// reserve returns an address that nobody else gets until the test ends, also while nobody listens there: the kernel gives a port to no connection
// that somebody has, who lets others listen there.
func reserve(t testing.TB) (string, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { _ = syscall.Close(socket) })
	if err := syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return "", err
	}
	if err := syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return "", err
	}
	bound, err := syscall.Getsockname(socket)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port), nil
}

// Cut ends all that goes over the line. What comes now is refused.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.listener.Close() // it may be cut already
	for conn := range l.open {
		_ = conn.Close()
	}
	l.open = nil
}

// Mend lets connections in again, at the same address.
func (l *Line) Mend() error {
	listener, err := net.Listen("tcp", l.Address)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener, l.open = listener, map[net.Conn]bool{}
	go l.accept(listener)
	return nil
}

func (l *Line) accept(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // it was cut
		}
		server, err := net.Dial("tcp", l.To)
		if err != nil || !l.keep(client, server) {
			_ = client.Close()
			continue
		}
		go l.carry(client, server)
		go l.carry(server, client)
	}
}

// keep notes both ends of a connection, unless the line is cut.
func (l *Line) keep(ends ...net.Conn) bool {
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
func (l *Line) carry(from, to net.Conn) {
	_, _ = io.Copy(to, from) // an end that is closed is no news
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range []net.Conn{from, to} {
		_ = end.Close()
		delete(l.open, end)
	}
}
