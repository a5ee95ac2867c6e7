package tunnel

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An HTTP server writes a chunk in three pieces: they are one frame.
func TestWhatIsHeldIsOneFrame(t *testing.T) {
	sender, m := meter(t)
	stream := open(t, sender, Kube)
	eventually(t, "the stream is there", func() bool { return sender.mux.NumStreams() == 1 })
	time.Sleep(100 * time.Millisecond) // and its peer has said what it takes in
	m.held.Store(true)
	stream.Hold()
	for _, piece := range []int{4 << 10, 50 << 10, 2} {
		if n, err := stream.Write(make([]byte, piece)); n != piece || err != nil {
			t.Fatalf("wrote %d of %d, %v", n, piece, err)
		}
	}
	released := make(chan error, 1)
	go func() { released <- stream.Release() }()
	if f := m.step(); f.bytes != muxHeader+54<<10+2 || f.stream != stream.StreamID() {
		t.Errorf("the first frame has %d bytes of stream %d", f.bytes, f.stream)
	}
	m.free()
	if err := errors.Join(<-released, stream.Release()); err != nil { // a second time there is nothing
		t.Error(err)
	}
}

// More than a frame does not gather, and what cannot be sent is an error for whoever writes after it.
func TestHeldBackIsBounded(t *testing.T) {
	agent, hub := pair(t, Config{})
	stream := open(t, hub, Kube)
	got := make(chan int64, 1)
	go func() {
		accepted, err := agent.Accept(t.Context())
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, accepted)
		got <- n
	}()
	stream.Hold()
	const much = 3*window + 5
	if n, err := stream.Write(make([]byte, much)); n != much || err != nil {
		t.Fatalf("wrote %d of %d, %v", n, much, err)
	}
	if held := len(*stream.held); held > maxBody {
		t.Errorf("%d bytes are held back", held)
	}
	if err := stream.Release(); err != nil {
		t.Fatal(err)
	}
	stream.CloseWrite()
	if n := <-got; n != much {
		t.Errorf("%d bytes came of %d", n, much)
	}
	stream = open(t, hub, Kube)
	stream.Hold()
	if _, err := stream.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	stream.Close()
	if err := stream.Release(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("released on a closed stream: %v", err)
	}
	stream.Hold()
	if _, err := stream.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("written after that: %v", err)
	}
}

func TestARequestKnowsItsStream(t *testing.T) {
	agent, hub := pair(t, Config{})
	listener := NewListener(agent.RemoteAddr())
	server := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stream := StreamOf(r.Context())
		stream.Hold()
		defer stream.Release()
		io.WriteString(w, "held")
		http.NewResponseController(w).Flush()
	}), slog.New(slog.DiscardHandler))
	go server.Serve(listener)
	defer server.Close()
	go func() {
		stream, err := agent.Accept(t.Context())
		if err == nil {
			listener.Deliver(stream)
		}
	}()
	through := hub.Transport(Kube)
	defer through.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, "http://member/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := through.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said strings.Builder
	if _, err := io.Copy(&said, answer.Body); err != nil || said.String() != "held" {
		t.Errorf("got %q, %v", said.String(), err)
	}
	if StreamOf(t.Context()) != nil {
		t.Error("there is a stream where none is")
	}
}
