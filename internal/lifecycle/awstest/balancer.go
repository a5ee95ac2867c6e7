package awstest

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// balancerPort is the port of a control plane's load balancer.
const balancerPort = "6443"

const (
	// looks is how often the balancer looks at its targets, as a load balancer of AWS does every ten seconds.
	looks = time.Second
	// dialTime is how long a target has to answer.
	dialTime = 2 * time.Second
)

// balancer stands in for the network load balancers of an account: moto's lead nowhere. It asks the account what has been registered with them,
// leads each connection to the next of those that answer, and ends those to one that answers no more. Of that last thing those of Cluster API's
// provider do nothing: they leave it to the clients.
type balancer struct {
	account *Account

	mu      sync.Mutex
	answers []string            // HOST:PORT of targets
	open    map[net.Conn]string // by the target that a connection leads to
	next    int
}

// balance runs a balancer until the test ends.
func (a *Account) balance(t testing.TB, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, balancerPort))
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{account: a, open: map[net.Conn]string{}}
	var running sync.WaitGroup
	running.Go(func() { b.watch(t.Context()) })
	running.Go(func() { b.accept(listener, &running) })
	t.Cleanup(func() {
		_ = listener.Close()
		b.see(nil)
		running.Wait()
	})
}

// watch looks which targets answer, again and again.
func (b *balancer) watch(ctx context.Context) {
	ticker := time.NewTicker(looks)
	defer ticker.Stop()
	for {
		if targets, err := b.targets(ctx); err == nil { // an account that does not answer has told which there are
			b.see(slices.DeleteFunc(targets, func(target string) bool { return !isServed(target) }))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// targets returns where the instances are that are registered with load balancers.
func (b *balancer) targets(ctx context.Context) ([]string, error) {
	var registered []string
	if err := b.account.ask(ctx, http.MethodGet, "/targets", nil, &registered); err != nil {
		return nil, err
	}
	b.account.mu.Lock()
	at := maps.Clone(b.account.addresses)
	b.account.mu.Unlock()
	var targets []string
	for _, target := range registered {
		id, port, _ := strings.Cut(target, ":")
		if address := at[id]; address != "" {
			targets = append(targets, net.JoinHostPort(address, port))
		}
	}
	return targets, nil
}

func isServed(target string) bool {
	conn, err := net.DialTimeout("tcp", target, dialTime)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// see takes note of the targets that answer.
func (b *balancer) see(answers []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = answers
	for conn, target := range b.open {
		if !slices.Contains(answers, target) {
			_ = conn.Close()
			delete(b.open, conn)
		}
	}
}

func (b *balancer) accept(listener net.Listener, running *sync.WaitGroup) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return // the test is over
		}
		running.Go(func() { b.lead(client, running) })
	}
}

// lead leads a connection to a target.
func (b *balancer) lead(client net.Conn, running *sync.WaitGroup) {
	target := b.choose()
	server, err := net.DialTimeout("tcp", target, dialTime)
	if err != nil { // none, too
		_ = client.Close()
		return
	}
	b.mu.Lock()
	known := slices.Contains(b.answers, target)
	b.open[client], b.open[server] = target, target
	b.mu.Unlock()
	if !known {
		b.leave(client, server)
		return
	}
	running.Go(func() { b.carry(client, server) })
	b.carry(server, client)
}

func (b *balancer) choose() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.answers) == 0 {
		return ""
	}
	b.next++
	return b.answers[b.next%len(b.answers)]
}

// carry carries what one end says to the other one, until either is closed.
func (b *balancer) carry(from, to net.Conn) {
	_, _ = io.Copy(to, from) // an end that is closed is no news
	b.leave(from, to)
}

func (b *balancer) leave(ends ...net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, end := range ends {
		_ = end.Close()
		delete(b.open, end)
	}
}
