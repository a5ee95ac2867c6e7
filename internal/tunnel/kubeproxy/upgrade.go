package kubeproxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/tunnel"
)

// framed is how much of an answer over HTTP/2 is one record of TLS, with the head of its frame. A frame may be larger, by nine bytes,
// which are a record and a system call of their own then.
const framed = 16<<10 - 9

// upgradable is a ResponseWriter that sees to the end of an upgraded stream: what was cut off on the way is cut off for the
// client too. httputil.ReverseProxy closes the client's connection in any case, which reads as the end of the data: half of a
// file would pass for all of it, and a command that was killed for one that succeeded.
type upgradable struct {
	http.ResponseWriter
	pieces   bool           // it goes over HTTP/2
	stream   *tunnel.Stream // that the request came over; nil when it came another way
	backend  net.Conn       // that the request went over, if it is known
	complete atomic.Bool    // the stream has come to its end
}

// Hijack implements http.Hijacker.
func (u *upgradable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	linger(conn, 0) // so that it ends with a TCP reset also when this process is killed
	c := &client{Conn: conn, stream: u}
	if _, secure := conn.(interface{ ConnectionState() tls.ConnectionState }); secure { // streams of a tunnel gather what comes by themselves
		c.ahead = readAhead(conn)
	}
	return c, buffered, nil
}

// Write implements http.ResponseWriter. Whoever writes flushes after it: until then what a chunk consists of is held together.
func (u *upgradable) Write(p []byte) (n int, err error) {
	if u.stream != nil {
		u.stream.Hold()
	}
	for u.pieces && len(p)-n > framed && err == nil {
		var sent int
		sent, err = u.ResponseWriter.Write(p[n : n+framed])
		n += sent
	}
	if err != nil {
		return n, err
	}
	sent, err := u.ResponseWriter.Write(p[n:])
	return n + sent, err
}

// FlushError implements what http.ResponseController asks for.
func (u *upgradable) FlushError() error {
	err := http.NewResponseController(u.ResponseWriter).Flush()
	return errors.Join(err, u.release())
}

func (u *upgradable) release() error {
	if u.stream == nil {
		return nil
	}
	return u.stream.Release()
}

// Unwrap is for http.ResponseController.
func (u *upgradable) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// watchOver looks at an answer before it is sent on.
func (u *upgradable) watchOver(answer *http.Response) error {
	if answer.StatusCode < 100 {
		return fmt.Errorf("the answer has the status %03d, which there is not", answer.StatusCode) // net/http would panic
	}
	stream, ok := answer.Body.(io.ReadWriteCloser)
	if answer.StatusCode == http.StatusSwitchingProtocols && ok {
		answer.Body = &watched{ReadWriteCloser: stream, client: u}
	}
	return nil
}

// client is the connection of the client of an upgraded stream.
type client struct {
	net.Conn
	stream *upgradable
	ahead  *ahead // nil when nothing is read ahead
}

// Read implements io.Reader.
func (c *client) Read(p []byte) (int, error) {
	if c.ahead != nil {
		return c.ahead.Read(p)
	}
	return c.Conn.Read(p)
}

// Close ends the connection as the stream has ended: as connections do, or with a reset.
func (c *client) Close() error {
	if c.ahead != nil {
		c.ahead.stop()
	}
	if c.stream.complete.Load() {
		linger(c.Conn, -1)
		return c.Conn.Close()
	}
	if inTunnel, ok := c.Conn.(interface{ Reset() error }); ok {
		return inTunnel.Reset()
	}
	return tcpOf(c.Conn).Close() // without the word by which TLS ends
}

// CloseWrite tells the client that nothing more comes.
func (c *client) CloseWrite() error {
	linger(c.Conn, -1)
	if err := closeWrite(c.Conn); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// linger says how a TCP connection ends when it is closed: 0 is with a reset, -1 as connections do.
func linger(conn net.Conn, seconds int) {
	if tcp, ok := tcpOf(conn).(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(seconds)
	}
}

func tcpOf(conn net.Conn) net.Conn {
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		return secure.NetConn()
	}
	return conn
}

// watched is a stream that notes that it has come to its end.
type watched struct {
	io.ReadWriteCloser
	client *upgradable
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadWriteCloser.Read(p)
	if errors.Is(err, io.EOF) && wasReset(w.client.backend) {
		return n, syscall.ECONNRESET
	}
	if errors.Is(err, io.EOF) {
		w.client.complete.Store(true)
	}
	return n, err
}

// trace has the request note the connection that it goes over.
func (u *upgradable) trace(r *http.Request) *http.Request {
	if r.Header.Get("Upgrade") == "" {
		return r
	}
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { u.backend = got.Conn },
	}))
}

// wasReset says whether a TCP connection that has nothing more to read was reset. The kernel says so once: to whoever writes,
// if somebody does, and then the reader is told that all was read.
func wasReset(conn net.Conn) bool {
	if conn == nil {
		return false
	}
	tcp, ok := tcpOf(conn).(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	reset := false
	_ = raw.Control(func(fd uintptr) {
		const closed = 7 // TCP_CLOSE; after a FIN it is CLOSE_WAIT
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		reset = err == nil && info.State == closed
	})
	return reset
}

// CloseWrite tells the other end that nothing more comes.
func (w *watched) CloseWrite() error { return closeWrite(w.ReadWriteCloser) }
