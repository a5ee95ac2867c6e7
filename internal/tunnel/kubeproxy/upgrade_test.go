package kubeproxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
)

// upgrading answers an upgrade with "half", and then ends as end says.
type upgrading struct {
	http.RoundTripper
	end error
}

// RoundTrip implements http.RoundTripper.
func (m upgrading) RoundTrip(r *http.Request) (*http.Response, error) {
	near, far := net.Pipe()
	go func() {
		io.Copy(io.Discard, far)
	}()
	return &http.Response{
		StatusCode: http.StatusSwitchingProtocols, Header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"test"}},
		Body: &halfway{Conn: near, left: []byte("half"), end: m.end}, Request: r, ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

type halfway struct {
	net.Conn
	left []byte
	end  error
}

func (h *halfway) Read(p []byte) (int, error) {
	if len(h.left) == 0 {
		return 0, h.end
	}
	n := copy(p, h.left)
	h.left = h.left[n:]
	return n, nil
}

func (h *halfway) CloseWrite() error { return nil }

// cutOff says whether an error is that of a connection which broke off.
func cutOff(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF)
}

// What was cut off on the way does not look to the client like the end of it.
func TestAnUpgradedStreamThatIsCutOff(t *testing.T) {
	for _, c := range []struct {
		reason string
		end    error
		clean  bool
	}{
		{"it is at its end", io.EOF, true},
		{"the tunnel is cut", net.ErrClosed, false},
	} {
		hub := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			Forward(w, r, upgrading{end: c.end}, alice, "/exec")
		}))
		request, err := http.NewRequest(http.MethodPost, hub.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "test")
		var got []byte
		answer, err := hub.Client().Do(request)
		if err == nil {
			got, err = io.ReadAll(bufio.NewReader(answer.Body))
			answer.Body.Close()
		}
		// The reset may overtake what came before it, the answer included.
		if c.clean && (err != nil || string(got) != "half") || !c.clean && !cutOff(err) {
			t.Errorf("%s: the client read %q and %v", c.reason, got, err)
		}
		hub.Close()
	}
}

// The agent's side: the member's API server goes away in the middle, and the hub hears that it was not the end.
func TestAnUpgradedStreamThatTheMemberCutsOff(t *testing.T) {
	for _, c := range []struct {
		reason string
		cut    bool
	}{{"it is at its end", false}, {"the API server is cut", true}} {
		way := through(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nhalf")
			if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil { // the client has it
				t.Error(err)
			}
			if c.cut {
				conn.(*net.TCPConn).SetLinger(0)
			}
		})
		hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := Forward(w, r, way, alice, "/exec"); err != nil {
				t.Error(err)
			}
		}))
		conn, err := net.Dial("tcp", hub.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /exec HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
		reader := bufio.NewReader(conn)
		answer, err := http.ReadResponse(reader, nil)
		if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: answered %v, %v", c.reason, answer, err)
		}
		if _, err := io.ReadFull(reader, make([]byte, 4)); err != nil {
			t.Fatalf("%s: %v", c.reason, err)
		}
		fmt.Fprint(conn, "more")
		rest, err := io.ReadAll(reader)
		if len(rest) > 0 || c.cut != cutOff(err) || !c.cut && err != nil {
			t.Errorf("%s: the client read %q and %v", c.reason, rest, err)
		}
		conn.Close()
		hub.Close()
	}
}
