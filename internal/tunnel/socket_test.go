package tunnel

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// sockets are two ends of a TCP connection.
func sockets(t *testing.T) (near *Socket, far net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := DialSocket(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		dialed.Close()
		accepted.Close()
	})
	return dialed.(*Socket), accepted
}

func TestASocketHoldsWhatGoesTogether(t *testing.T) {
	near, far := sockets(t)
	write := func(w io.Writer, text string) {
		t.Helper()
		if n, err := io.WriteString(w, text); n != len(text) || err != nil {
			t.Fatalf("wrote %d of %q, %v", n, text, err)
		}
	}
	near.hold()
	write(near, "one,")
	write(near, "two,")
	write(near.TCPConn, "meanwhile,")
	if err := near.release(); err != nil {
		t.Fatal(err)
	}
	write(near, "after")
	near.CloseWrite()
	got, err := io.ReadAll(far)
	if want := "meanwhile,one,two,after"; string(got) != want || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	near.hold()
	near.Close()
	if n, err := near.Write([]byte("more")); n != 4 || err != nil {
		t.Errorf("what is held was not taken: %d, %v", n, err)
	}
	if near.release() == nil {
		t.Error("a connection that is closed has taken what was held")
	}
}

// holding notes what becomes of a frame.
type holding struct{ deeds []string }

func (h *holding) hold() { h.deeds = append(h.deeds, "hold") }

func (h *holding) release() error {
	h.deeds = append(h.deeds, "release")
	return io.ErrClosedPipe
}

func TestAFrameOfSeveralRecordsIsOneWrite(t *testing.T) {
	for _, c := range []struct {
		length int
		held   int
		err    error
	}{{record, 0, nil}, {record + 1, 2, io.ErrClosedPipe}} {
		h := &holding{}
		j := &joined{Conn: &recorder{}, socket: h}
		if n, err := j.send(make([]byte, c.length)); n != c.length || (err != nil) != (c.err != nil) || len(h.deeds) != c.held {
			t.Errorf("%d bytes: sent %d, %v, %q", c.length, n, err, h.deeds)
		}
	}
	near, _ := sockets(t)
	if got := under(tls.Client(tls.Client(near, nil), nil)); got != net.Conn(near) {
		t.Errorf("under TLS in TLS is %T, not the socket", got)
	}
	agent, _ := pair(t, Config{})
	if agent.frames.socket == nil {
		t.Error("a session that was dialed knows no socket")
	}
}
