package tunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// frameOf is a frame of yamux, as its specification has it.
func frameOf(kind, flags byte, stream uint32, length int, body string) []byte {
	head := []byte{0, kind, 0, flags}
	head = binary.BigEndian.AppendUint32(head, stream)
	head = binary.BigEndian.AppendUint32(head, uint32(length))
	return append(head, body...)
}

// FuzzPeer has a session with a peer that sends anything. What it accepts it serves; when the peer is gone nothing is left.
func FuzzPeer(f *testing.F) {
	const syn, ack, fin, rst = 1, 2, 4, 8
	open := frameOf(1, syn, 1, 0, "")
	control := append(open[:len(open):len(open)], frameOf(muxData, 0, 1, 6, "\x01hello")...)
	for _, seed := range [][]byte{
		control,
		append(control[:len(control):len(control)], frameOf(1, fin, 1, 0, "")...),
		append(control[:len(control):len(control)], frameOf(1, rst, 1, 0, "")...),
		bytes.Repeat(control, 3),
		frameOf(muxData, syn, 1, 300<<10, "\x02"),
		frameOf(muxData, syn|fin, 3, 1, "\x03"),
		frameOf(1, ack, 2, 1<<20, ""),
		frameOf(2, syn, 0, 7, ""), frameOf(2, ack, 0, 7, ""), frameOf(3, 0, 0, 0, ""), frameOf(3, 0, 0, 1, ""), frameOf(9, 0, 0, 0, ""),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		near, far := net.Pipe()
		session, err := Server(near, Config{MaxStreams: 4})
		if err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		running.Go(func() { io.Copy(io.Discard, far) })
		running.Go(func() {
			far.Write(raw)
			far.Close()
		})
		running.Go(func() {
			for {
				stream, err := session.Accept(t.Context())
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("accepting ended with %v", err)
					}
					return
				}
				running.Go(func() {
					defer stream.Close()
					if kind, err := stream.Kind(); err != nil || kind == unsaid {
						return
					}
					io.Copy(stream, stream)
				})
			}
		})
		<-session.Done()
		if err := session.Close(); err != nil {
			t.Errorf("the session ended with %v", err)
		}
		running.Wait()
		if n := session.taken.Load(); n != 0 {
			t.Errorf("%d streams are still counted", n)
		}
	})
}

// FuzzProxyAnswer has a proxy answer anything. Whatever comes of it, the password stays where it is, and what is said after
// the answer is not lost without a word.
func FuzzProxyAnswer(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 1000) + "\r\n",
	} {
		f.Add([]byte(seed))
	}
	proxy, err := url.Parse("http://alice:s3cret@proxy.example.com:3128")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		near, far := net.Pipe()
		var running sync.WaitGroup
		running.Go(func() {
			buffer := make([]byte, 4096)
			far.Read(buffer) // the question is one write
			far.Write(raw)
			far.Close()
		})
		conn, err := pass(t.Context(), near, proxy, "hub.example.com:443")
		if err == nil {
			conn.SetReadDeadline(time.Now().Add(time.Second))
			if left, _ := io.ReadAll(conn); !bytes.HasSuffix(raw, left) {
				t.Errorf("after the answer %q came, of %q", left, raw)
			}
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error tells the password: %v", err)
		}
		near.Close()
		running.Wait()
	})
}
