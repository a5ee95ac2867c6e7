package kubeproxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

func TestAheadGivesWhatCame(t *testing.T) {
	sent := make([]byte, 1<<20)
	rand.Read(sent)
	random := mathrand.New(mathrand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		from io.Reader
	}{
		{"as it is", bytes.NewReader(sent)},
		{"byte by byte", iotest.OneByteReader(bytes.NewReader(sent))},
		{"with the end in the last piece", iotest.DataErrReader(bytes.NewReader(sent))},
	} {
		a := readAhead(c.from)
		var got bytes.Buffer
		for {
			n, err := io.CopyN(&got, a, int64(1+random.IntN(100<<10)))
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: after %d bytes: %v", c.name, n, err)
			}
		}
		if !bytes.Equal(got.Bytes(), sent) {
			t.Errorf("%s: %d bytes came that are not the %d that were sent", c.name, got.Len(), len(sent))
		}
	}
}

func TestAheadGivesAllBeforeTheError(t *testing.T) {
	cut := errors.New("the line was cut")
	a := readAhead(io.MultiReader(bytes.NewReader([]byte("half of it")), iotest.ErrReader(cut)))
	got, err := io.ReadAll(a)
	if string(got) != "half of it" || !errors.Is(err, cut) {
		t.Errorf("got %q and %v", got, err)
	}
}

// Nobody reads what a pod writes without end: the room is bounded. What came while a piece was sent on goes with the next.
func TestAheadGathersWithinItsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		a := readAhead(near)
		taken := make(chan int, 1)
		go func() {
			n, _ := far.Write(make([]byte, 10*large.size))
			taken <- n
		}()
		synctest.Wait()
		if n := len(a.bytes); n <= large.size-sip || n > large.size {
			t.Errorf("%d bytes were read ahead, of a room of %d", n, large.size)
		}
		piece := make([]byte, 32<<10)
		if n, err := a.Read(piece); n != len(piece) || err != nil {
			t.Errorf("one read gave %d bytes and %v, not all that it had room for", n, err)
		}
		a.stop()
		left, err := io.ReadAll(a)
		if len(left) == 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("stopped, it gives %d bytes and ends with %v", len(left), err)
		}
		near.Close()
		far.Close()
		if n := <-taken; n > 2*large.size {
			t.Errorf("%d bytes were taken", n)
		}
		synctest.Wait() // and the goroutine has ended
	})
}
