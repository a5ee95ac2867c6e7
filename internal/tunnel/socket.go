package tunnel

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// arriving is how long what arrives at a socket gathers where much does.
	arriving = 2 * time.Millisecond
	// record is what TLS encrypts at once. It sends each by itself.
	record = 16 << 10
)

// Socket is a TCP connection under TLS over which much goes with few system calls.
type Socket struct {
	*net.TCPConn
	arriving Gather

	mu   sync.Mutex
	held *[]byte // what is written, while it is held back
}

// NewSocket returns the socket of a connection, which nobody else uses from now on.
func NewSocket(conn *net.TCPConn) *Socket {
	return &Socket{TCPConn: conn, arriving: Gather{For: arriving}}
}

// socketOf returns a connection as a socket, if it is one of TCP.
func socketOf(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return NewSocket(tcp)
	}
	return conn
}

// DialSocket opens a TCP connection, as net.Dialer.DialContext does, for somebody who reads much from it.
func DialSocket(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second} // as client-go has it
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return socketOf(conn), nil
}

// Read implements net.Conn.
func (s *Socket) Read(p []byte) (int, error) {
	return s.arriving.Read(nil, s.TCPConn, p)
}

// Write implements net.Conn.
func (s *Socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.held != nil {
		*s.held = append(*s.held, p...)
		s.mu.Unlock()
		return len(p), nil
	}
	s.mu.Unlock()
	return s.TCPConn.Write(p)
}

// sealed has room for a frame as TLS sends it.
var sealed = sync.Pool{New: func() any {
	room := make([]byte, 0, muxHeader+maxBody+maxBody/64)
	return &room
}}

// hold keeps what is written until release.
func (s *Socket) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = sealed.Get().(*[]byte)
}

// release sends what was held back, in one go.
func (s *Socket) release() error {
	s.mu.Lock()
	held := s.held
	s.held = nil
	s.mu.Unlock()
	_, err := s.TCPConn.Write(*held)
	*held = (*held)[:0]
	sealed.Put(held)
	return err
}

// holder is a Socket, or what has one in it.
type holder interface {
	hold()
	release() error
}

var _ holder = (*Socket)(nil)
