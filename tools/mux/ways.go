package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/quic-go/quic-go"
	"github.com/xtaci/smux"
	"golang.org/x/net/http2"

	"umbel.dev/umbel/internal/tunnel"
)

// certificate is the hub's, for everything here.
var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"hub"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

func serving(protocol string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate()}, NextProtos: []string{protocol}}
}

func dialing(protocol string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, NextProtos: []string{protocol}}
}

// connect returns both ends of a TLS connection.
func connect(ctx context.Context, protocol string) (hub, agent *tls.Conn, err error) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", serving(protocol))
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	accepted := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			hub = conn.(*tls.Conn)
			err = hub.HandshakeContext(ctx)
		}
		accepted <- err
	}()
	conn, err := (&tls.Dialer{Config: dialing(protocol)}).DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	return hub, conn.(*tls.Conn), <-accepted
}

type yamuxWay struct{ hub, agent *yamux.Session }

func newYamux(ctx context.Context) (way, error) {
	hubEnd, agentEnd, err := connect(ctx, "yamux")
	if err != nil {
		return nil, err
	}
	config := yamux.DefaultConfig()
	config.EnableKeepAlive, config.MaxStreamWindowSize, config.LogOutput = false, 1<<20, io.Discard
	agent, err := yamux.Client(agentEnd, config)
	if err != nil {
		return nil, err
	}
	hub, err := yamux.Server(hubEnd, config)
	return yamuxWay{hub, agent}, err
}

func (w yamuxWay) open(context.Context) (stream, error) { return w.hub.OpenStream() }
func (w yamuxWay) accept(ctx context.Context) (stream, error) {
	return w.agent.AcceptStreamWithContext(ctx)
}
func (w yamuxWay) close() { _, _ = w.hub.Close(), w.agent.Close() }

type tunnelWay struct{ hub, agent *tunnel.Session }

func newTunnel(ctx context.Context) (way, error) {
	hubEnd, agentEnd, err := connect(ctx, tunnel.Protocol)
	if err != nil {
		return nil, err
	}
	agent, err := tunnel.Client(agentEnd, tunnel.Config{MaxStreams: 10_000})
	if err != nil {
		return nil, err
	}
	hub, err := tunnel.Server(hubEnd, tunnel.Config{})
	return tunnelWay{hub, agent}, err
}

func (w tunnelWay) open(ctx context.Context) (stream, error) { return w.hub.Open(ctx, tunnel.Kube) }
func (w tunnelWay) accept(ctx context.Context) (stream, error) {
	return w.agent.Accept(ctx)
}
func (w tunnelWay) close() { _, _ = w.hub.Close(), w.agent.Close() }

type smuxWay struct{ hub, agent *smux.Session }

func newSmux(ctx context.Context) (way, error) {
	hubEnd, agentEnd, err := connect(ctx, "smux")
	if err != nil {
		return nil, err
	}
	config := smux.DefaultConfig()
	config.Version, config.KeepAliveDisabled, config.MaxStreamBuffer, config.MaxReceiveBuffer = 2, true, 1<<20, 16<<20
	agent, err := smux.Client(agentEnd, config)
	if err != nil {
		return nil, err
	}
	hub, err := smux.Server(hubEnd, config)
	return smuxWay{hub, agent}, err
}

func (w smuxWay) open(context.Context) (stream, error)   { return w.hub.OpenStream() }
func (w smuxWay) accept(context.Context) (stream, error) { return w.agent.AcceptStream() }
func (w smuxWay) close()                                 { _, _ = w.hub.Close(), w.agent.Close() }

// http2Way has the agent serve HTTP/2 over the connection that it dialed, and the hub ask it to CONNECT for each stream. The
// agent opens no streams that way: for those a second connection would be needed.
type http2Way struct {
	conns  []net.Conn
	client *http2.ClientConn
	taken  chan stream
	done   chan struct{}
}

func newHTTP2(ctx context.Context) (way, error) {
	hubEnd, agentEnd, err := connect(ctx, "h2")
	if err != nil {
		return nil, err
	}
	w := &http2Way{conns: []net.Conn{hubEnd, agentEnd}, taken: make(chan stream), done: make(chan struct{})}
	server := &http2.Server{MaxConcurrentStreams: 10_000, MaxReadFrameSize: 64 << 10, MaxUploadBufferPerStream: 1 << 20, MaxUploadBufferPerConnection: 16 << 20}
	go server.ServeConn(agentEnd, &http2.ServeConnOpts{Handler: http.HandlerFunc(w.serve)})
	w.client, err = (&http2.Transport{}).NewClientConn(hubEnd)
	return w, err
}

func (w *http2Way) serve(answer http.ResponseWriter, r *http.Request) {
	if err := http.NewResponseController(answer).Flush(); err != nil {
		return
	}
	s := &served{Reader: r.Body, answer: answer, flush: http.NewResponseController(answer).Flush, over: make(chan struct{})}
	select {
	case w.taken <- s:
		<-s.over
	case <-w.done:
	}
}

// served is the agent's end of a stream.
type served struct {
	io.Reader
	answer http.ResponseWriter
	flush  func() error
	over   chan struct{}

	mu     sync.Mutex // of answer, which nobody may touch when it is over
	closed bool
}

func (s *served) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	n, err := s.answer.Write(p)
	return n, errors.Join(err, s.flush())
}

func (s *served) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.over)
	}
	return nil
}

// asked is the hub's end.
type asked struct {
	io.ReadCloser
	*io.PipeWriter
}

func (a asked) Close() error { return errors.Join(a.PipeWriter.Close(), a.ReadCloser.Close()) }

func (w *http2Way) open(ctx context.Context) (stream, error) {
	reader, writer := io.Pipe()
	request, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://agent", reader)
	if err != nil {
		return nil, err
	}
	answer, err := w.client.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	return asked{answer.Body, writer}, nil
}

func (w *http2Way) accept(ctx context.Context) (stream, error) {
	select {
	case s := <-w.taken:
		return s, nil
	case <-w.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *http2Way) close() {
	close(w.done)
	for _, conn := range w.conns {
		conn.Close()
	}
}

type quicWay struct {
	listener   *quic.Listener
	hub, agent *quic.Conn
}

func newQUIC(ctx context.Context) (way, error) {
	config := &quic.Config{
		MaxIncomingStreams: 10_000, MaxStreamReceiveWindow: 1 << 20, MaxConnectionReceiveWindow: 16 << 20, MaxIdleTimeout: time.Hour,
	}
	listener, err := quic.ListenAddr("127.0.0.1:0", serving("quic"), config)
	if err != nil {
		return nil, err
	}
	agent, err := quic.DialAddr(ctx, listener.Addr().String(), dialing("quic"), config)
	if err != nil {
		return nil, err
	}
	hub, err := listener.Accept(ctx)
	return quicWay{listener, hub, agent}, err
}

// quicStream closes as the others do: in both directions.
type quicStream struct{ *quic.Stream }

func (s quicStream) Close() error {
	s.CancelRead(0)
	return s.Stream.Close()
}

func (w quicWay) open(ctx context.Context) (stream, error) {
	s, err := w.hub.OpenStreamSync(ctx)
	return quicStream{s}, err
}
func (w quicWay) accept(ctx context.Context) (stream, error) {
	s, err := w.agent.AcceptStream(ctx)
	return quicStream{s}, err
}

func (w quicWay) close() {
	_, _, _ = w.hub.CloseWithError(0, ""), w.agent.CloseWithError(0, ""), w.listener.Close()
}
