//go:build e2e

package line

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// farEnv has this binary be the far end: it answers each line with itself.
const farEnv = "UMBEL_LINE_FAR"

func TestMain(m *testing.M) {
	switch os.Getenv(farEnv) {
	case "listen":
		os.Exit(far())
	case "inside":
		if err := Up(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), farEnv+"=inside")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "in a network namespace of their own, which needs root on Linux:", err)
		os.Exit(1)
	}
}

func far() int {
	listener, err := net.Listen("tcp", "0.0.0.0:7000")
	if err != nil {
		return 1
	}
	fmt.Println("listening")
	for {
		conn, err := listener.Accept()
		if err != nil {
			return 0
		}
		go io.Copy(conn, conn)
	}
}

// TestALineIsAsBadAsItIsSaidToBe: otherwise the stories that are told over lines would prove nothing.
func TestALineIsAsBadAsItIsSaidToBe(t *testing.T) {
	peer := exec.Command("/proc/self/exe")
	peer.Env = append(os.Environ(), farEnv+"=listen")
	peer.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := peer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := peer.Start(); err != nil {
		t.Fatal(err)
	}
	defer peer.Wait()
	defer peer.Process.Kill()
	l, err := New(Config{Name: "test", Process: peer.Process.Pid, Near: "10.78.0.1/30", Far: "10.78.0.2/30", Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", "10.78.0.2:7000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// echo sends bytes and waits for them to come back.
	echo := func(n int) time.Duration {
		began := time.Now()
		go conn.Write(make([]byte, n))
		if _, err := io.ReadFull(conn, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	echo(1)
	if n := l.Dropped.Load(); n != 0 {
		t.Errorf("a good line lost %d packets", n)
	}
	l.Set(Quality{Latency: 100 * time.Millisecond})
	if took := echo(1); took < 200*time.Millisecond {
		t.Errorf("100 ms each way, and an echo took %v", took)
	}
	l.Set(Quality{Bandwidth: 32_000})
	if took := echo(64_000); took < 1800*time.Millisecond {
		t.Errorf("at 32 kB/s 64 kB took %v", took)
	}
	l.Set(Quality{Loss: 0.2})
	echo(200_000)
	if n := l.Dropped.Load(); n < 10 {
		t.Errorf("one in five was to be lost, and %d packets were", n)
	}
	l.Set(Quality{})
	l.Cut(Both)
	conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("something came over a line that is cut")
	}
	l.Mend()
	conn.SetReadDeadline(time.Time{})
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Errorf("what was sent while the line was cut did not come after it: %v", err)
	}
	for _, c := range []struct {
		reason    string
		cut, mend func()
	}{
		{"cut to the far end", func() { l.Cut(ToFar) }, l.Mend},
		{"cut from the far end", func() { l.Cut(ToNear) }, l.Mend},
		{"its far end unplugged", func() { must(t, l.Plug(Out)) }, func() { must(t, l.Plug(In)) }},
	} {
		c.cut()
		conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		conn.Write([]byte("x"))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: an echo came back", c.reason)
		}
		c.mend()
		conn.SetReadDeadline(time.Time{})
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Errorf("%s: after it nothing came: %v", c.reason, err)
		}
	}
	l.Break(time.Minute)
	conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a connection that was reset ended with %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
