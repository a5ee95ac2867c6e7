package ports_test

import (
	"net"
	"slices"
	"strconv"
	"testing"

	"umbel.dev/umbel/internal/kube/ports"
)

// TestFree looks at what it finds: ports that can be listened on, each once, and none that a connection could have as its own.
func TestFree(t *testing.T) {
	found, err := ports.Free(50)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if n := len(slices.Compact(slices.Clone(found))); n != 50 {
		t.Fatalf("got %d different ports, want 50", n)
	}
	if !ports.AreFree(found...) {
		t.Error("ports that were found are not free")
	}
	for range 200 {
		out := connectionPort(t)
		if _, taken := slices.BinarySearch(found, out); taken {
			t.Errorf("port %d was found, and is a connection's", out)
		}
	}
	more, err := ports.Free(50, found...)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range more {
		if slices.Contains(found, port) {
			t.Errorf("port %d was found again, although it is taken", port)
		}
	}
}

// TestEachPortIsFoundOnce: of many who look at once and do not listen yet, no two find the same.
func TestEachPortIsFoundOnce(t *testing.T) {
	const looking, each = 40, 25
	all := make(chan []int, looking)
	for range looking {
		go func() {
			found, err := ports.Free(each)
			if err != nil {
				t.Error(err)
			}
			all <- found
		}()
	}
	var found []int
	for range looking {
		found = append(found, <-all...)
	}
	slices.Sort(found)
	if n := len(slices.Compact(found)); n != looking*each {
		t.Errorf("%d ports were found by %d calls, %d of them different", looking*each, looking, n)
	}
}

// connectionPort is the port that the kernel gives to a client.
func connectionPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.TCPAddr).Port
}

// TestTaken has somebody listen on a port that was free.
func TestTaken(t *testing.T) {
	found, err := ports.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(found[0])))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if ports.AreFree(found[0]) {
		t.Errorf("port %d is said to be free, and somebody listens on it", found[0])
	}
}
