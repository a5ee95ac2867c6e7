// Package ports finds TCP ports of this machine for servers that start a moment later and keep them for good.
//
// The kernel's own choice (a listener on port 0) is of the range that outgoing connections take theirs from as well:
// until the server has started, which takes a Kubernetes API some seconds, and whenever it is away, a connection or
// another server may have the port. These are below that range.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
)

// The range that ports are of: above those of well-known servers, and of the clusters that Cluster API's provider for development
// keeps in memory (20000 to 24000), and below the node ports of Kubernetes.
const (
	first = 25000
	last  = 29999
)

// ephemeralFile says from where to where the ports of outgoing connections are.
const ephemeralFile = "/proc/sys/net/ipv4/ip_local_port_range"

// tries is how many ports in a row may be taken before the machine is said to have none.
const tries = 1000

// claim is how long a port that was found is found by no other process: within it whoever was given it listens on it.
const claim = time.Minute

// Free returns n ports of 127.0.0.1, in no order, that nobody listens on now, each once and none of taken: those that somebody has been
// given and does not listen on yet. For a minute, or until this process ends, no other call on this machine finds them again.
func Free(n int, taken ...int) ([]int, error) {
	choose := chooser()
	var found []int
	for range tries {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(choose())))
		if err != nil {
			continue // taken
		}
		defer listener.Close() // held until all are found, so that they differ
		if port := listener.Addr().(*net.TCPAddr).Port; !slices.Contains(taken, port) && claimed(port) {
			found = append(found, port)
		}
		if len(found) == n {
			return found, nil
		}
	}
	return nil, fmt.Errorf("looking for %d free ports of 127.0.0.1: %d tries found %d", n, tries, len(found))
}

// claimed says whether a port could be claimed. The claim is the UDP port of the same number, which servers on TCP have no use for and
// the kernel gives back by itself.
func claimed(port int) bool {
	held, err := net.ListenPacket("udp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	time.AfterFunc(claim, func() { _ = held.Close() })
	return true
}

// AreFree says whether nobody listens on any of these ports of 127.0.0.1.
func AreFree(ports ...int) bool {
	for _, port := range ports {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = listener.Close()
	}
	return true
}

// chooser returns what draws a port to try. Where outgoing connections have all ports there is none that they leave alone: the kernel
// chooses then.
func chooser() func() int {
	from, err := ephemeral()
	if err != nil {
		from = last + 1
	}
	end := min(last, from-1)
	if end-first < tries {
		return func() int { return 0 }
	}
	return func() int { return first + rand.IntN(end-first+1) }
}

// ephemeral returns the first port that outgoing connections may have.
func ephemeral() (int, error) {
	raw, err := os.ReadFile(ephemeralFile)
	if err != nil {
		return 0, err
	}
	var from, to int
	if _, err := fmt.Sscan(string(raw), &from, &to); err != nil {
		return 0, errors.Join(fmt.Errorf("reading %s", ephemeralFile), err)
	}
	return from, nil
}
