package linetest

import (
	"net"
	"testing"
	"time"
)

// TestALine that is cut lets nobody in, is nobody else's meanwhile, and leads there again when it is mended.
func TestALine(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := Lay(t, server.Addr().String())
	reach := func() error {
		conn, err := net.Dial("tcp", l.Address)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	if err := reach(); err != nil {
		t.Fatal(err)
	}
	l.Cut()
	if err := reach(); err == nil {
		t.Error("a line that is cut lets somebody in")
	}
	from, err := net.ResolveTCPAddr("tcp", l.Address)
	if err != nil {
		t.Fatal(err)
	}
	other := net.Dialer{LocalAddr: from, Timeout: time.Minute}
	if conn, err := other.Dial("tcp", server.Addr().String()); err == nil {
		t.Errorf("somebody else got its address: %v", conn.LocalAddr())
		_ = conn.Close()
	}
	if err := l.Mend(); err != nil {
		t.Fatal(err)
	}
	if err := reach(); err != nil {
		t.Errorf("a line that was mended: %v", err)
	}
}
