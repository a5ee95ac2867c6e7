package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// jammed is a connection that takes so many writes, and then none until it is let.
type jammed struct {
	net.Conn
	takes chan struct{}
}

func (j *jammed) Write(p []byte) (int, error) {
	<-j.takes
	return j.Conn.Write(p)
}

// Whoever gives up opening a stream is let go at once, however far it is, and nothing is left of it.
func TestWhoGivesUpOpening(t *testing.T) {
	near, far := net.Pipe()
	line := &jammed{near, make(chan struct{}, 1)}
	session, err := Client(line, Config{})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := Server(far, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	defer session.Close()
	for _, frames := range []int{0, 1} { // of the two that it takes
		for range frames {
			line.takes <- struct{}{}
		}
		ctx, giveUp := context.WithCancel(t.Context())
		opened := make(chan error, 1)
		go func() {
			_, err := session.Open(ctx, Kube)
			opened <- err
		}()
		eventually(t, "it is under way", func() bool { return session.mux.NumStreams() == 1 && len(line.takes) == 0 })
		giveUp()
		select {
		case err := <-opened:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after %d frames: %v", frames, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("after %d frames it holds on", frames)
		}
		go func() {
			for range 3 - frames { // the two, and the end of it
				line.takes <- struct{}{}
			}
		}()
		stream, err := peer.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after %d frames: what was given up reads %v", frames, err)
		}
		stream.Close()
		eventually(t, "nothing is left of it", func() bool { return session.mux.NumStreams() == 0 })
	}
}

// That is so too when the stream is there in the same moment.
func TestWhoGivesUpOpeningAtTheLastMoment(t *testing.T) {
	agent, hub := pair(t, Config{MaxStreams: 10_000})
	go func() {
		for {
			stream, err := hub.Accept(context.WithoutCancel(t.Context()))
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, stream)
				stream.Close()
			}()
		}
	}()
	for i := range 500 {
		ctx, giveUp := context.WithTimeout(t.Context(), time.Duration(i%100)*time.Microsecond)
		stream, err := agent.Open(ctx, Kube)
		if err == nil {
			stream.Close()
		}
		giveUp()
	}
	eventually(t, "nothing is left of them", func() bool { return agent.mux.NumStreams() == 0 })
}

// A stream that is reset is gone at once, also when the peer has said all that it will ever say of it: no probe is needed to have it
// forgotten, and what the other streams read is whole.
func TestWhatIsResetIsForgottenAtOnce(t *testing.T) {
	agent, hub := pair(t, Config{})
	stays, err := agent.Open(t.Context(), Control)
	if err != nil {
		t.Fatal(err)
	}
	defer stays.Close()
	there := accept(t, hub, Control)
	defer there.Close()
	for i := range 50 {
		stream, err := agent.Open(t.Context(), Kube)
		if err != nil {
			t.Fatal(err)
		}
		peer := accept(t, hub, Kube)
		if _, err := peer.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		// Once the byte is here, so is the word that the stream was accepted, which came before it.
		if _, err := io.ReadFull(stream, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		stream.Close()
		if _, err := peer.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Fatalf("the peer of a stream that was reset reads %v", err)
		}
		peer.Close()
		eventually(t, "nothing is left of it", func() bool { return agent.mux.NumStreams() == 1 && hub.mux.NumStreams() == 1 })
		if _, err := there.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		var got [1]byte
		if _, err := io.ReadFull(stays, got[:]); err != nil || got[0] != byte(i) {
			t.Fatalf("the stream beside it reads %v, %v", got, err)
		}
	}
}

// Whoever opens a stream while the session is closed gets one that ends, or is told that it is closed: nobody waits, and
// Close waits for nobody who comes later.
func TestOpenWhileItIsClosed(t *testing.T) {
	for range 20 {
		agent, hub := pair(t, Config{})
		var opening sync.WaitGroup
		for range 4 {
			opening.Go(func() {
				for {
					stream, err := hub.Open(t.Context(), Kube)
					if err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Errorf("opening a stream of a session that is closed: %v", err)
						}
						return
					}
					stream.Close() //nolint:errcheck // it may have ended with its session
				}
			})
		}
		hub.Close() //nolint:errcheck // it is the end
		opening.Wait()
		agent.Close() //nolint:errcheck // it is the end
	}
}
