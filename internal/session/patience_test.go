package session

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"umbel.dev/umbel/api/wire"
)

// busy is a stream of a connection on which something arrives all the time until it falls silent.
type busy struct {
	net.Conn
	silent time.Time
}

func (b busy) Heard() time.Time {
	if now := time.Now(); b.silent.IsZero() || now.Before(b.silent) {
		return now
	}
	return b.silent
}

// A peer whose answers are late behind other streams of a full line has longer, and not for ever.
func TestALateAnswerOnABusyLine(t *testing.T) {
	for _, c := range []struct {
		reason      string
		busyFor     time.Duration
		least, most time.Duration
	}{
		{"nothing comes", time.Nanosecond, 15 * time.Second, 21 * time.Second},
		{"bytes come for half a minute", 30 * time.Second, 45 * time.Second, 51 * time.Second},
		{"bytes come for ever", 0, 60 * time.Second, 66 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			stream := busy{Conn: s.hubEnd}
			if c.busyFor > 0 {
				stream.silent = time.Now().Add(c.busyFor)
			}
			start := time.Now()
			go func() { s.hubErr <- RunHub(t.Context(), stream, s.hub) }()
			if err := WriteFrame(s.agentEnd, hello("late")); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, s.agentEnd)
			err := <-s.hubErr
			if took := time.Since(start); !errors.Is(err, ErrProbeTimeout) || took < c.least || took > c.most {
				t.Errorf("%s: the session ended after %v with %v, want %v to %v", c.reason, took, err, c.least, c.most)
			}
		})
	}
}

// slowly is a connection that moves 32 kB a second.
type slowly struct{ net.Conn }

func (s slowly) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var sent int
		sent, err = s.Conn.Write(b[n:min(len(b), n+3200)])
		n += sent
		time.Sleep(100 * time.Millisecond)
	}
	return n, err
}

// roomy is a connection that takes what the other end writes before it is read, as a tunnel does and net.Pipe does not: there
// two ends that both write wait for each other.
type roomy struct {
	net.Conn
	in   chan []byte
	rest []byte
}

func newRoomy(conn net.Conn) *roomy {
	r := &roomy{Conn: conn, in: make(chan []byte, 1024)}
	go func() {
		defer close(r.in)
		for {
			b := make([]byte, 4096)
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			r.in <- b[:n]
		}
	}()
	return r
}

func (r *roomy) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		r.rest = <-r.in
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// SetReadDeadline does nothing: the other end is there.
func (r *roomy) SetReadDeadline(time.Time) error { return nil }

// On 256 kbit/s an agent that holds very much says so all the same, and what it reports does not hold up its answers.
func TestMuchIsSaidOnASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var held []*wire.PackageStatus
		for i := range MaxPackages {
			held = append(held, &wire.PackageStatus{
				Package: fmt.Sprintf("shop/web-%d", i), Release: "web-1", Phase: wire.PackageStatus_APPLYING, Message: strings.Repeat("m", 300),
			})
		}
		s := newStage(t, held...)
		start := time.Now()
		go func() { s.agentErr <- RunAgent(ctx, slowly{newRoomy(s.agentEnd)}, s.agent) }()
		go func() { s.hubErr <- RunHub(ctx, s.hubEnd, s.hub) }()
		for s.diary.count("opened") == 0 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		if took := time.Since(start); took < 30*time.Second {
			t.Fatalf("the hello took %v: this line is not slow", took)
		}
		s.member.say(held...)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := s.diary.count("APPLYING"); n != MaxPackages {
			t.Errorf("%d of %d packages were reported", n, MaxPackages)
		}
		cancel()
		if hubErr, agentErr := <-s.hubErr, <-s.agentErr; !errors.Is(hubErr, context.Canceled) || !errors.Is(agentErr, context.Canceled) {
			t.Errorf("the session ended with %v and %v", hubErr, agentErr)
		}
	})
}

// A flood of large frames is slowed down as one of small frames is.
func TestFloodOfLargeFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		go func() { s.hubErr <- RunHub(t.Context(), s.hubEnd, s.hub) }()
		if err := WriteFrame(s.agentEnd, hello("flooder")); err != nil {
			t.Fatal(err)
		}
		reader := bufio.NewReader(s.agentEnd)
		go func() {
			for ReadFrame(reader, &wire.FromHub{}) == nil {
			}
		}()
		large := &wire.FromAgent{Message: &wire.FromAgent_Status{Status: &wire.StatusReport{
			Packages: []*wire.PackageStatus{{Package: "a/web", Message: strings.Repeat("m", MaxFrame-1000)}},
		}}}
		start, taken := time.Now(), 0
		for WriteFrame(s.agentEnd, large) == nil {
			taken++
		}
		<-s.hubErr
		if took := time.Since(start); taken > 4+int(took.Seconds()) {
			t.Errorf("the hub took %d frames of 4 MiB in %v", taken, took)
		}
	})
}

// count counts the lines that hold the words.
func (d *diary) count(words string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range d.lines {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}
