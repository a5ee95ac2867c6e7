package kubeproxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
		answer, err := hub.Client().Do(request)
		if err != nil && !c.clean {
			hub.Close()
			continue // the reset overtook the answer, as it may
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(bufio.NewReader(answer.Body))
		if c.clean && (err != nil || string(got) != "half") || !c.clean && err == nil {
			t.Errorf("%s: the client read %q and %v", c.reason, got, err)
		}
		answer.Body.Close()
		hub.Close()
	}
}
