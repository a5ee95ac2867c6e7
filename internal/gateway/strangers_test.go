package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/internal/identity"
	"umbel.dev/umbel/internal/tunnel"
)

// journal keeps what a hub logs.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// says counts the lines that hold all of the words.
func (j *journal) says(words ...string) (count int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			count++
		}
	}
	return count
}

func newHubWithJournal(t *testing.T) (*hub, *journal) {
	j := &journal{}
	return newHubWith(t, "", slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), j), nil))), j
}

// logs waits until the hub has logged all of the words in a line.
func (h *hub) logs(log *journal, words ...string) {
	h.t.Helper()
	h.eventually(fmt.Sprintf("a line of the log has %q", words), func() (bool, string) {
		log.mu.Lock()
		text := log.text.String()
		log.mu.Unlock()
		return log.says(words...) > 0, text[max(0, len(text)-600):]
	})
}

// Who does not get as far as a session is refused in the handshake, logged once with the reason, and changes nothing.
func TestHandshakesThatAreRefused(t *testing.T) {
	h, log := newHubWithJournal(t)
	h.joined("prod-eu")
	before := h.settled("prod-eu")
	roots := h.authority.Roots()
	for _, c := range []struct {
		reason, logged string
		settings       *tls.Config // nil sends no TLS at all
	}{
		{"TLS 1.2", "unsupported versions", &tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{tunnel.Protocol}}},
		{"TLS 1.0", "unsupported versions", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, NextProtos: []string{tunnel.Protocol}}},
		{"another protocol", "unsupported application protocols", &tls.Config{NextProtos: []string{"umbel/0", "smtp"}}},
		{"who does not trust the hub", "bad certificate", &tls.Config{NextProtos: []string{tunnel.Protocol}, RootCAs: nothing(t)}},
		{"no TLS", "first record does not look like a TLS handshake", nil},
	} {
		conn, err := net.Dial("tcp", h.address)
		if err != nil {
			t.Fatal(err)
		}
		peer := "peer=" + conn.LocalAddr().String()
		if c.settings == nil {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: hub\r\n\r\n")
			io.Copy(io.Discard, conn)
		} else {
			settings := c.settings.Clone()
			settings.ServerName = "127.0.0.1"
			if settings.RootCAs == nil {
				settings.RootCAs = roots
			}
			secure := tls.Client(conn, settings)
			if err := secure.Handshake(); err == nil {
				// With TLS 1.3 the client is done before the server has refused it.
				if _, err := secure.Read(make([]byte, 1)); err == nil {
					t.Errorf("%s was accepted", c.reason)
				}
			}
		}
		conn.Close()
		h.eventually(c.reason+" is logged once, and why", func() (bool, string) {
			log.mu.Lock()
			text := log.text.String()
			log.mu.Unlock()
			return log.says("a connection was refused", peer) == 1 && log.says("a connection was refused", peer, c.logged) == 1, text[max(0, len(text)-600):]
		})
	}
	h.idle(before)
}

// nothing is a pool of a CA that issued nothing.
func nothing(t *testing.T) *x509.CertPool {
	t.Helper()
	ca, err := identity.NewCA("nobody's", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return ca.Pool()
}

// A flood of handshakes that fail does not become a flood of the log.
func TestFailedHandshakesAreCounted(t *testing.T) {
	h, log := newHubWithJournal(t)
	h.gateway.strangers.failures.SetLimit(0) // or the last of them may be logged, and none counted since
	const flood = 200
	for range flood {
		conn, err := net.Dial("tcp", h.address)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "garbage, garbage, garbage\n")
		io.Copy(io.Discard, conn)
		conn.Close()
	}
	h.eventually("all were refused", func() (bool, string) {
		here := h.gateway.strangers.Count()
		return here == 0, fmt.Sprint(here)
	})
	if n, hidden := log.says("a connection was refused"), h.gateway.strangers.unlogged.Load(); n > flood/2 || n < 1 || hidden < 1 {
		t.Errorf("of %d handshakes that failed %d were logged and %d are counted", flood, n, hidden)
	}
}

// A stranger who opens streams and fills them loses its connection before it costs much.
func TestAStrangerFillsNoWindows(t *testing.T) {
	h := newHub(t)
	conn, err := tls.Dial("tcp", h.address, &tls.Config{RootCAs: h.authority.Roots(), NextProtos: []string{tunnel.Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tun, err := tunnel.Client(conn, tunnel.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	var mu sync.Mutex
	sent := 0
	var filling sync.WaitGroup
	for range 40 {
		stream, err := tun.Open(t.Context(), tunnel.Content)
		if err != nil {
			break
		}
		filling.Go(func() {
			for {
				n, err := stream.Write(make([]byte, 16<<10))
				mu.Lock()
				sent += n
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	<-tun.Done()
	filling.Wait()
	// What the kernels of both ends hold counts as sent as well.
	if sent > bytesOfStranger+8<<20 {
		t.Errorf("a stranger could send %d bytes", sent)
	}
}

// Who sends a request drop by drop is not waited for, and others are served meanwhile.
func TestSlowLoris(t *testing.T) {
	h := newHub(t)
	type drip struct {
		reason, begin string
	}
	var dripping sync.WaitGroup
	for _, c := range []drip{
		{"a head that never ends", "GET /healthz HTTP/1.1\r\nHost: hub\r\n"},
		{"a join that never ends", "POST /v1/join HTTP/1.1\r\nHost: hub\r\nContent-Length: 60000\r\n\r\n{"},
	} {
		conn, err := tls.Dial("tcp", h.address, &tls.Config{RootCAs: h.authority.Roots(), NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, c.begin)
		dripping.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			go func() {
				for range tick.C {
					if _, err := io.WriteString(conn, "X"); err != nil {
						return
					}
				}
			}()
			conn.SetReadDeadline(time.Now().Add(3 * handshakeTimeout))
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, answer.Body)
			}
			if err == nil { // an answer that says that it took too long; then the connection ends
				_, err = conn.Read(make([]byte, 1))
			}
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Errorf("%s is still waited for", c.reason)
			}
		})
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.authority.Roots()}}}
	answer, err := client.Get("https://" + h.address + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, answer)
	dripping.Wait()
}
