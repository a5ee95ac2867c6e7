package tunnel

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// recorder notes what is written in one go.
type recorder struct {
	net.Conn
	writes [][]byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}

func (r *recorder) SetWriteDeadline(time.Time) error { return nil }

func TestAFrameIsOneWrite(t *testing.T) {
	data := func(length byte) []byte { return []byte{0, muxData, 0, 0, 0, 0, 0, 1, 0, 0, 0, length} }
	update := []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5}
	for _, c := range []struct {
		reason        string
		written, want [][]byte
	}{
		{"a header and its body", [][]byte{data(5), []byte("hello")}, [][]byte{append(data(5), "hello"...)}},
		{"a body that looks like a header", [][]byte{data(12), data(7), update}, [][]byte{append(data(12), data(7)...), update}},
		{"a frame without a body, such as one that ends a stream", [][]byte{data(0), update}, [][]byte{data(0), update}},
		{"a window's update has a number where others have a length", [][]byte{update, data(1), {9}}, [][]byte{update, append(data(1), 9)}},
	} {
		r := &recorder{}
		j := &joined{Conn: r}
		for _, p := range c.written {
			if n, err := j.Write(p); n != len(p) || err != nil {
				t.Errorf("%s: wrote %d of %d, %v", c.reason, n, len(p), err)
			}
		}
		if got, want := bytes.Join(r.writes, []byte("|")), bytes.Join(c.want, []byte("|")); !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", c.reason, got, want)
		}
	}
}

// What is larger than a frame and what is larger than the window arrives as it was sent.
func TestLargeWritesArriveWhole(t *testing.T) {
	agent, hub := pair(t, Config{})
	sent := make([]byte, 3*window+maxBody/2)
	for i := range sent {
		sent[i] = byte(i * i >> 7)
	}
	stream, err := hub.Open(t.Context(), Kube)
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		n, err := stream.Write(sent)
		if err == nil && n != len(sent) {
			err = io.ErrShortWrite
		}
		stream.CloseWrite()
		wrote <- err
	}()
	accepted, err := agent.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(accepted)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(sent), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}
