// Package balancertest is a load balancer for tests and benchmarks: what stands in front of a hub of several replicas. It
// passes TCP on, each connection to the next backend that takes it, and knows nothing of what goes through.
package balancertest

import (
	"io"
	"net"
	"sync"
)

// Balancer is a listening load balancer. Close ends it.
type Balancer struct {
	listener net.Listener
	carrying sync.WaitGroup

	mu       sync.Mutex
	backends []string
	turn     int
	closed   bool // to new connections
	conns    map[net.Conn]bool
}

// New listens on a free port of 127.0.0.1.
func New() (*Balancer, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &Balancer{listener: listener, conns: map[net.Conn]bool{}}
	b.carrying.Go(b.accept)
	return b, nil
}

// Address is what clients dial.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Add adds a backend, as HOST:PORT.
func (b *Balancer) Add(backend string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.backends = append(b.backends, backend)
}

// Refuse takes no new connections any more; those that are there go on.
func (b *Balancer) Refuse() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

// Close ends everything and waits for it.
func (b *Balancer) Close() error {
	b.Refuse()
	err := b.listener.Close()
	b.mu.Lock()
	for conn := range b.conns {
		conn.Close()
	}
	b.mu.Unlock()
	b.carrying.Wait()
	return err
}

func (b *Balancer) accept() {
	for {
		near, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.carrying.Go(func() { b.carry(near) })
	}
}

func (b *Balancer) carry(near net.Conn) {
	defer near.Close()
	far := b.dial()
	if far == nil {
		return
	}
	defer far.Close()
	if !b.keep(near, far) {
		return
	}
	defer b.drop(near, far)
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(near, far)
		near.Close()
	})
	io.Copy(far, near)
	far.Close()
	back.Wait()
}

// dial connects to the next backend that takes the connection, or returns nil.
func (b *Balancer) dial() net.Conn {
	b.mu.Lock()
	backends, first := b.backends, b.turn
	b.turn++
	b.mu.Unlock()
	for i := range backends {
		if conn, err := net.Dial("tcp", backends[(first+i)%len(backends)]); err == nil {
			return conn
		}
	}
	return nil
}

func (b *Balancer) keep(conns ...net.Conn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range conns {
		b.conns[conn] = true
	}
	return !b.closed
}

func (b *Balancer) drop(conns ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range conns {
		delete(b.conns, conn)
	}
}
