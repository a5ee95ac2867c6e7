package lobby

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// door is a lobby with a listener; what is accepted enters.
type door struct {
	t      *testing.T
	lobby  *Lobby
	tcp    net.Listener
	inside chan *Guest
	mu     sync.Mutex
	thrown []string
}

func open(t *testing.T, room int, patience time.Duration) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{t: t, tcp: listener, inside: make(chan *Guest, 100)}
	d.lobby = New(Config{Room: room, Patience: patience, Bytes: 10, ThrownOut: func(remote net.Addr) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.thrown = append(d.thrown, remote.String())
	}})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if g, ok := d.lobby.Enter(ctx, conn.(*net.TCPConn)); ok {
				d.inside <- g
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		listener.Close()
		accepting.Wait()
	})
	return d
}

// come connects from an address of 127.0.0.0/8.
func (d *door) come(from string) net.Conn {
	d.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", d.tcp.Addr().String())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	return conn
}

func (d *door) enters(from string) net.Conn {
	d.t.Helper()
	conn := d.come(from)
	select {
	case g := <-d.inside:
		if g.RemoteAddr().String() != conn.LocalAddr().String() {
			d.t.Fatalf("%s came in, want %s", g.RemoteAddr(), conn.LocalAddr())
		}
	case <-time.After(time.Minute):
		d.t.Fatalf("%s did not come in", conn.LocalAddr())
	}
	return conn
}

// ended waits until the hub has ended a connection.
func ended(conn net.Conn) bool { return endedWithin(conn, time.Minute) }

// stays says whether the hub keeps a connection for a moment.
func stays(conn net.Conn) bool { return !endedWithin(conn, 20*time.Millisecond) }

func endedWithin(conn net.Conn, within time.Duration) bool {
	conn.SetReadDeadline(time.Now().Add(within))
	_, err := conn.Read(make([]byte, 1))
	var timeout net.Error
	return !(errors.As(err, &timeout) && timeout.Timeout())
}

func TestWhoFloodsPaysForIt(t *testing.T) {
	d := open(t, 4, time.Millisecond)
	honest := d.enters("127.0.0.2")
	first, second, third := d.enters("127.0.0.3"), d.enters("127.0.0.3"), d.enters("127.0.0.3")
	other := d.enters("127.0.0.4")
	if !ended(first) || !stays(honest) || !stays(second) || !stays(third) || !stays(other) {
		t.Errorf("thrown out were %v, want the oldest of 127.0.0.3, %s", d.thrown, first.LocalAddr())
	}
	if d.lobby.Count() != 4 {
		t.Errorf("there are %d in the lobby", d.lobby.Count())
	}
}

func TestNobodyIsThrownOutBeforeHeCouldSayWhoHeIs(t *testing.T) {
	d := open(t, 2, time.Hour)
	slow := d.come("127.0.0.2")
	guest := <-d.inside
	d.enters("127.0.0.2")
	late := d.come("127.0.0.3")
	time.Sleep(50 * time.Millisecond)
	if !stays(slow) || len(d.inside) != 0 {
		t.Error("somebody was thrown out, or came into a full lobby")
	}
	guest.Known()
	if g := <-d.inside; g.RemoteAddr().String() != late.LocalAddr().String() {
		t.Errorf("%s came in, want %s", g.RemoteAddr(), late.LocalAddr())
	}
	if !stays(slow) {
		t.Error("who is known was ended")
	}
}

func TestAStrangerIsReadSoFar(t *testing.T) {
	d := open(t, 10, time.Hour)
	for _, c := range []struct {
		reason string
		before func(*Guest)
		want   int
	}{
		{"nobody knows who it is", func(*Guest) {}, 10},
		{"it may send more", func(g *Guest) { g.Allow(20) }, 20},
		{"it is known", func(g *Guest) { g.Known(); g.Known() }, 40},
	} {
		conn := d.come("127.0.0.1")
		guest := <-d.inside
		c.before(guest)
		go func() {
			for range 40 {
				conn.Write([]byte("x"))
				time.Sleep(time.Millisecond)
			}
			conn.Close()
		}()
		n, one := 0, make([]byte, 1)
		var err error
		for err == nil {
			var k int
			k, err = guest.Read(one)
			n += k
		}
		if n != c.want || (n < 40) != errors.Is(err, ErrTooMuch) || (n == 40) != errors.Is(err, io.EOF) {
			t.Errorf("%s: %d bytes were read, want %d; it ended with %v", c.reason, n, c.want, err)
		}
		guest.Close()
	}
	if d.lobby.Count() != 0 {
		t.Errorf("%d are left in the lobby", d.lobby.Count())
	}
}
