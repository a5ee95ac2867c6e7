package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// metered is a connection that notes of which stream each write is and, while it is held, takes one when the test says so.
type metered struct {
	net.Conn
	held   atomic.Bool
	next   chan struct{}
	writes chan frame
}

type frame struct {
	stream uint32
	bytes  int
}

func (m *metered) Write(p []byte) (int, error) {
	if m.held.Load() {
		<-m.next
		m.writes <- frame{binary.BigEndian.Uint32(p[4:8]), len(p)}
	}
	return m.Conn.Write(p)
}

// step lets one write through.
func (m *metered) step() frame {
	m.next <- struct{}{}
	return <-m.writes
}

// free lets all that follow through.
func (m *metered) free() {
	m.held.Store(false)
	go func() {
		for range m.writes {
		}
	}()
	close(m.next)
}

// meter returns a session over a metered connection; its peer reads every stream but those of kind Content.
func meter(t *testing.T) (*Session, *metered) {
	t.Helper()
	near, far := net.Pipe()
	m := &metered{Conn: near, next: make(chan struct{}), writes: make(chan frame)}
	sender, err := Client(m, Config{})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := Server(far, Config{MaxStreams: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			stream, err := reader.Accept(context.WithoutCancel(t.Context()))
			if err != nil {
				return
			}
			reading.Go(func() {
				if kind, err := stream.Kind(); err == nil && kind != Content {
					io.Copy(io.Discard, stream)
				}
			})
		}
	})
	t.Cleanup(func() {
		sender.Close()
		reader.Close()
		reading.Wait()
	})
	return sender, m
}

func open(t *testing.T, s *Session, kind Kind) *Stream {
	t.Helper()
	stream, err := s.Open(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestProbesAndKeystrokesPassThoseWhoMoveMuch(t *testing.T) {
	sender, m := meter(t)
	control, shell := open(t, sender, Control), open(t, sender, Kube)
	var bulk []*Stream
	for range 60 {
		bulk = append(bulk, open(t, sender, Kube))
	}
	eventually(t, "the streams are there", func() bool { return sender.mux.NumStreams() == 62 })
	time.Sleep(100 * time.Millisecond) // and their peer has said what it takes in
	m.held.Store(true)
	var writing sync.WaitGroup
	for _, stream := range bulk {
		writing.Go(func() { stream.Write(make([]byte, 300<<10)) })
	}
	eventually(t, "those who move much wait for their turns", func() bool { return len(sender.turns.long) == atOnce })
	for what, stream := range map[string]*Stream{"a probe": control, "a keystroke": shell} {
		// Without turns it would be a frame of each of the sixty.
		const most = 6 * (maxBody + muxHeader)
		before := most + 1
		for range 3 { // on a busy machine a write may begin to wait later than it seems
			if before <= most {
				break
			}
			begins := make(chan struct{})
			writing.Go(func() { close(begins); stream.Write([]byte("hello")) })
			<-begins
			time.Sleep(300 * time.Millisecond) // until it waits
			before = 0
			for f := m.step(); f.stream != stream.StreamID(); f = m.step() {
				before += f.bytes
			}
		}
		if before > most {
			t.Errorf("%d bytes went before %s, want at most %d", before, what, most)
		}
	}
	m.free()
	writing.Wait()
}

func TestFramesAreSmallOnASlowLine(t *testing.T) {
	sender, m := meter(t)
	bulk := open(t, sender, Kube)
	large := func() bool { // a busy machine may be a slow line for a moment
		_, err := bulk.Write(make([]byte, 1<<20))
		return err == nil && sender.turns.body.Load() == maxBody
	}
	eventually(t, "frames are large on a good line", large)
	m.held.Store(true)
	var writing sync.WaitGroup
	writing.Go(func() { bulk.Write(make([]byte, 1<<20)) })
	const most = 8 // frames: half of what is written, at their largest
	frames := 0
	for last := maxBody; last > minBody+muxHeader && frames < most; last = m.step().bytes {
		time.Sleep(slow + 10*time.Millisecond)
		frames++
	}
	if frames == most {
		t.Errorf("after %d frames that took long they carry %d bytes, want %d", most, sender.turns.body.Load(), minBody)
	}
	m.free()
	writing.Wait()
	eventually(t, "frames are large again on a good line", large)
}

// Streams whose peer does not read hold up nobody's turn.
func TestWhoIsNotReadHoldsUpNobodysTurn(t *testing.T) {
	sender, _ := meter(t)
	var writing sync.WaitGroup
	var stuck []*Stream
	for range 20 {
		stream := open(t, sender, Content)
		stuck = append(stuck, stream)
		writing.Go(func() { stream.Write(make([]byte, 4<<20)) })
	}
	time.Sleep(100 * time.Millisecond) // until they are stuck
	if n, err := open(t, sender, Kube).Write(make([]byte, 4<<20)); n != 4<<20 || err != nil {
		t.Errorf("beside streams that nobody reads %d bytes were written: %v", n, err)
	}
	for _, stream := range stuck {
		stream.Close()
	}
	writing.Wait()
}

func TestWhoWaitsForItsTurnIsLetGo(t *testing.T) {
	for _, c := range []struct {
		reason string
		end    func(*Session, *Stream)
		want   error
	}{
		{"its stream is closed", func(_ *Session, s *Stream) { s.Close() }, net.ErrClosed},
		{"the session ends", func(s *Session, _ *Stream) { s.Close() }, ErrClosed},
		{"it is late", func(*Session, *Stream) {}, os.ErrDeadlineExceeded},
	} {
		sender, _ := meter(t)
		stream := open(t, sender, Kube)
		for range atOnce {
			sender.turns.long <- struct{}{}
		}
		if c.want == os.ErrDeadlineExceeded {
			stream.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
		}
		ended := make(chan error, 1)
		go func() {
			_, err := stream.Write(make([]byte, 1<<20))
			ended <- err
		}()
		time.Sleep(5 * time.Millisecond)
		c.end(sender, stream)
		err := <-ended
		var timeout net.Error
		late := errors.As(err, &timeout) && timeout.Timeout()
		if c.want == os.ErrDeadlineExceeded && !late || c.want != os.ErrDeadlineExceeded && !errors.Is(err, c.want) {
			t.Errorf("%s: the write ended with %v", c.reason, err)
		}
	}
}
