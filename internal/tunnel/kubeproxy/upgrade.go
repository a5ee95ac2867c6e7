package kubeproxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
)

// upgradable is a ResponseWriter that remembers the connection which an upgraded stream goes on over.
type upgradable struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (u *upgradable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	u.conn = conn
	if _, secure := conn.(*tls.Conn); secure { // streams of a tunnel gather what comes by themselves
		conn = &aheadConn{conn, readAhead(conn)}
	}
	return conn, buffered, err
}

// Unwrap is for http.ResponseController.
func (u *upgradable) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// watchOver has an upgraded stream that is cut off end as such for the client too. httputil.ReverseProxy closes the client's
// connection in either case, which reads as the end of the data: half of a file would pass for all of it.
func (u *upgradable) watchOver(answer *http.Response) error {
	stream, ok := answer.Body.(io.ReadWriteCloser)
	if answer.StatusCode == http.StatusSwitchingProtocols && ok {
		answer.Body = &watched{ReadWriteCloser: stream, cut: u.reset}
	}
	return nil
}

// reset ends the client's connection with a TCP reset, where it can.
func (u *upgradable) reset() {
	conn := u.conn
	if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0)
		_ = conn.Close()
	}
}

// watched is a stream that says when it was cut off.
type watched struct {
	io.ReadWriteCloser
	cut func()
}

// Read implements io.Reader.
func (u *watched) Read(p []byte) (int, error) {
	n, err := u.ReadWriteCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.cut()
	}
	return n, err
}

// CloseWrite tells the other end that nothing more comes.
func (u *watched) CloseWrite() error {
	if half, ok := u.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
