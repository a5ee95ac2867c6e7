//go:build e2e

package net

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/api/wire"
	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/session"
	"umbel.dev/umbel/internal/tunnel"
)

// deedEnv says what a rogue does.
const deedEnv = "UMBEL_NET_DEED"

// rogue is a member that was taken over: it has a key and a certificate, and does with them what it likes, as fast as it can.
type rogue struct {
	boot   v1alpha1.Bootstrap
	ring   *identity.Keyring
	deed   deed
	ctx    context.Context
	cancel context.CancelFunc
	acting sync.WaitGroup
	done   atomic.Int64
}

// deed is done in one connection, until that ends.
type deed func(*rogue, *tls.Conn) error

// deeds by their names. Each but the last ones begins as an honest agent does.
var deeds = map[string]deed{
	"status updates":              inSession((*rogue).reports),
	"status updates of megabytes": inSession((*rogue).largeReports),
	"garbage in frames":           inSession((*rogue).garbage),
	"frames without an end":       inSession((*rogue).endlessFrames),
	"heads without an end":        inSession((*rogue).endlessHeads),
	"blobs that it does not read": inSession((*rogue).deaf),
	"streams":                     inSession((*rogue).streams),
	"sessions":                    inSession((*rogue).leaves),
	"pings":                       raw(func() []byte { return muxFrame(2, 1, 0) }),
	"updates of no window":        raw(func() []byte { return muxFrame(1, 0, 0) }),
	"garbage": raw(func() []byte {
		b := make([]byte, 4096)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return b
	}),
}

func newRogue() (actor, error) {
	r := &rogue{deed: deeds[os.Getenv(deedEnv)]}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if r.deed == nil {
		return nil, fmt.Errorf("%q is no deed", os.Getenv(deedEnv))
	}
	dir := os.Getenv(dirEnv)
	text, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &r.boot); err != nil {
		return nil, err
	}
	r.ring, err = identity.NewKeyring(identity.KeyringConfig{
		Home: identity.Folder(dir), BootstrapCA: []byte(r.boot.CA), Log: slog.New(slog.DiscardHandler),
	})
	return r, err
}

func (r *rogue) act(o order) (answer, error) {
	switch o.Do {
	case "start":
		if err := r.join(); err != nil {
			return answer{}, err
		}
		r.acting.Go(r.misbehave)
		return answer{}, nil
	case "done":
		return answer{Done: r.done.Load()}, nil
	}
	return answer{}, fmt.Errorf("a rogue cannot %q", o.Do)
}

func (r *rogue) stop() error {
	r.cancel()
	r.acting.Wait()
	return nil
}

// join gets a certificate as an honest agent does.
func (r *rogue) join() error {
	csr, err := identity.NewMemberRequest(r.boot.Cluster, r.ring.Key())
	if err != nil {
		return err
	}
	body, err := json.Marshal(session.JoinRequest{Cluster: r.boot.Cluster, Token: r.boot.Token, CSR: csr})
	if err != nil {
		return err
	}
	trust := r.ring.TLS()
	trust.GetClientCertificate = nil
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
	response, err := client.Post("https://"+r.boot.Address+session.JoinPath, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var joined session.JoinResponse
	if err := json.NewDecoder(response.Body).Decode(&joined); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("joining: %s: %w", response.Status, err)
	}
	return r.ring.Install([]byte(joined.Certificate), []byte(joined.Trust))
}

// misbehave does the deed in one connection after the other.
func (r *rogue) misbehave() {
	settings := r.ring.TLS()
	settings.NextProtos = []string{tunnel.Protocol}
	settings.ServerName, _, _ = net.SplitHostPort(r.boot.Address)
	for r.ctx.Err() == nil {
		conn, err := (&tls.Dialer{Config: settings}).DialContext(r.ctx, "tcp", r.boot.Address)
		if err == nil {
			stop := context.AfterFunc(r.ctx, func() { conn.(*tls.Conn).NetConn().Close() })
			err = r.deed(r, conn.(*tls.Conn))
			stop()
			conn.(*tls.Conn).NetConn().Close()
		}
		fmt.Fprintf(os.Stderr, "the connection ended: %v\n", err)
	}
}

// raw sends what is no stream of ours.
func raw(frame func() []byte) deed {
	return func(r *rogue, conn *tls.Conn) error {
		if err := r.opening(conn); err != nil {
			return err
		}
		go io.Copy(io.Discard, conn)
		for {
			one := frame()
			n := max(1, 12_000/len(one))
			r.done.Add(int64(n))
			if _, err := conn.Write(bytes.Repeat(one, n)); err != nil {
				return err
			}
		}
	}
}

// muxFrame is a frame of yamux without a body: its type, flags and stream.
func muxFrame(kind, flags byte, stream uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, kind, 0, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream), 0, 0, 0}, 0)[:12]
}

// opening is what an honest agent says first, without the code of one.
func (r *rogue) opening(conn *tls.Conn) error {
	var hello bytes.Buffer
	hello.WriteByte(byte(tunnel.Control))
	if err := session.WriteFrame(&hello, honestHello()); err != nil {
		return err
	}
	frame := muxFrame(0, 1, 1)
	binary.BigEndian.PutUint32(frame[8:], uint32(hello.Len()))
	_, err := conn.Write(append(frame, hello.Bytes()...))
	return err
}

func honestHello() *wire.FromAgent {
	return &wire.FromAgent{Message: &wire.FromAgent_Hello{Hello: &wire.Hello{
		Protocol: wire.Protocol, MinProtocol: wire.MinProtocol, AgentVersion: "v1",
	}}}
}

// talk is a session that was begun.
type talk struct {
	*rogue
	tun     *tunnel.Session
	control *tunnel.Stream
	reader  *bufio.Reader
	conn    *gated

	mu sync.Mutex // has one write at a time
}

// gated is a connection that reads nothing any more when it is told so.
type gated struct {
	*tls.Conn
	shut atomic.Bool
	end  chan struct{}
}

func (g *gated) Read(p []byte) (int, error) {
	if g.shut.Load() {
		<-g.end
		return 0, net.ErrClosed
	}
	return g.Conn.Read(p)
}

func inSession(do func(*rogue, *talk) error) deed {
	return func(r *rogue, conn *tls.Conn) error {
		gate := &gated{Conn: conn, end: make(chan struct{})}
		tun, err := tunnel.Client(gate, tunnel.Config{MaxStreams: 1000})
		if err != nil {
			return err
		}
		defer tun.Close()
		defer close(gate.end)
		defer conn.NetConn().Close()
		control, err := tun.Open(r.ctx, tunnel.Control)
		if err != nil {
			return err
		}
		t := &talk{rogue: r, tun: tun, control: control, reader: bufio.NewReader(control), conn: gate}
		if err := t.say(honestHello()); err != nil {
			return err
		}
		return do(r, t)
	}
}

func (t *talk) say(message *wire.FromAgent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return session.WriteFrame(t.control, message)
}

// answers answers probes, as long as the session lasts.
func (t *talk) answers() {
	for {
		var message wire.FromHub
		if session.ReadFrame(t.reader, &message) != nil {
			return
		}
		if probe := message.GetProbe(); probe != nil {
			go t.say(&wire.FromAgent{Message: &wire.FromAgent_ProbeAnswer{ProbeAnswer: &wire.ProbeAnswer{Nonce: probe.GetNonce()}}})
		}
	}
}

func status(packages ...*wire.PackageStatus) *wire.FromAgent {
	return &wire.FromAgent{Message: &wire.FromAgent_Status{Status: &wire.StatusReport{Packages: packages}}}
}

func (r *rogue) reports(t *talk) error {
	r.acting.Go(t.answers)
	for i := int64(0); ; i++ {
		if err := t.say(status(&wire.PackageStatus{Package: "evil/web", Release: fmt.Sprint(i), Phase: wire.PackageStatus_FAILED, Repairs: i})); err != nil {
			return err
		}
		r.done.Add(1)
	}
}

func (r *rogue) largeReports(t *talk) error {
	r.acting.Go(t.answers)
	text := strings.Repeat("x", 3<<20)
	for i := 0; ; i++ {
		if err := t.say(status(&wire.PackageStatus{Package: fmt.Sprintf("evil/web-%d", i), Message: text})); err != nil {
			return err
		}
		r.done.Add(1)
	}
}

func (r *rogue) garbage(t *talk) error {
	r.acting.Go(t.answers)
	for {
		b := make([]byte, 1024)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		if _, err := t.control.Write(b); err != nil {
			return err
		}
		r.done.Add(1)
	}
}

// endlessFrames announces what is as long as may be, and sends it but for its end.
func (r *rogue) endlessFrames(t *talk) error {
	t.control.Write(binary.AppendUvarint(nil, session.MaxFrame))
	for range session.MaxFrame>>16 - 1 {
		if _, err := t.control.Write(make([]byte, 1<<16)); err != nil {
			return err
		}
		r.done.Add(1)
	}
	<-t.tun.Done()
	return nil
}

// endlessHeads asks for content, and answers what people ask, with heads that do not end.
func (r *rogue) endlessHeads(t *talk) error {
	r.acting.Go(t.answers)
	pour := func(stream *tunnel.Stream, begin string) {
		defer stream.Close()
		if _, err := io.WriteString(stream, begin); err != nil {
			return
		}
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(stream, "X-%d: %s\r\n", i, strings.Repeat("y", 1000)); err != nil {
				return
			}
			r.done.Add(1)
		}
	}
	r.acting.Go(func() {
		for {
			stream, err := t.tun.Accept(r.ctx)
			if err != nil {
				return
			}
			r.acting.Go(func() { pour(stream, "HTTP/1.1 200 OK\r\n") })
		}
	})
	for {
		stream, err := t.tun.Open(r.ctx, tunnel.Content)
		if err != nil {
			return err
		}
		pour(stream, "GET /v2/ HTTP/1.1\r\nHost: hub\r\n")
	}
}

// deaf asks for the blob that the member is to hold, on as many streams as there may be, and then reads nothing.
func (r *rogue) deaf(t *talk) error {
	var desired *wire.DesiredState
	for desired == nil {
		var message wire.FromHub
		if err := session.ReadFrame(t.reader, &message); err != nil {
			return err
		}
		desired = message.GetDesired()
	}
	a := desired.GetAssign()[0]
	for range 30 {
		stream, err := t.tun.Open(r.ctx, tunnel.Content)
		if err != nil {
			return err
		}
		fmt.Fprintf(stream, "GET /v2/%s/blobs/%s HTTP/1.1\r\nHost: hub\r\n\r\n", a.GetRepository(), a.GetDigest())
		r.done.Add(1)
	}
	time.Sleep(100 * time.Millisecond)
	t.conn.shut.Store(true)
	<-t.tun.Done()
	return nil
}

func (r *rogue) streams(t *talk) error {
	r.acting.Go(t.answers)
	for {
		stream, err := t.tun.Open(r.ctx, tunnel.Content)
		if err != nil {
			return err
		}
		go stream.Write(make([]byte, 200<<10))
		r.done.Add(1)
	}
}

func (r *rogue) leaves(t *talk) error {
	var welcome wire.FromHub
	err := session.ReadFrame(t.reader, &welcome)
	r.done.Add(1)
	return err
}
