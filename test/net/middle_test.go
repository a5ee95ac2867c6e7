//go:build e2e

package net

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/net/line"
)

// TestHalfOpen: the packets of the agent vanish, without a word to either end. The hub says so within three to four probe
// intervals, and when they come through again the agent is back.
func TestHalfOpen(t *testing.T) {
	w := newWorld(t, probeInterval)
	p := w.join("prod-eu", "").start().connected()
	logs, err := p.request(t.Context(), "/api/v1/namespaces/default/pods/shell/log")
	w.must(err)
	defer logs.Body.Close()
	shell, err := p.exec(t.Context())
	w.must(err)
	defer shell.Close()
	quality := line.Quality{Latency: 10 * time.Millisecond, Bandwidth: 1 << 20}
	p.line.Set(quality)
	var read pattern
	buffer := make([]byte, 64<<10)
	for range 100 {
		n, err := logs.Body.Read(buffer)
		w.must(err)
		w.must(read.check(buffer[:n]))
	}
	p.line.Cut(line.Both)
	began := time.Now()
	w.eventually("the hub says that the member is not there", func() error { return p.is(metav1.ConditionUnknown) })
	t.Logf("the hub knows after %v", time.Since(began).Round(time.Second))
	// What people had open ends, with an error: it is not all that there was.
	for err == nil {
		var n int
		n, err = logs.Body.Read(buffer)
		w.must(read.check(buffer[:n]))
	}
	if err == io.EOF {
		t.Error("a log that was cut off ended as if it were complete")
	}
	if _, err := shell.Read(buffer); err == nil || err == io.EOF {
		t.Errorf("an exec that was cut off ended with %v", err)
	}
	p.line.Mend()
	began = time.Now()
	p.connected()
	t.Logf("the agent is back after %v", time.Since(began).Round(time.Millisecond))
}

// TestALoadBalancerCutsIdleConnections: one that ends connections on which nothing moves for a while. Probes are more often.
func TestALoadBalancerCutsIdleConnections(t *testing.T) {
	w := newWorld(t, probeInterval)
	const idle = 15 * time.Second // three probes, so that one that is late for once does not count
	var cut atomic.Int32
	balancer := listen(t, "0.0.0.0:0", func(conn net.Conn) {
		hub, err := net.Dial("tcp", "127.0.0.1:"+w.port)
		if err != nil {
			return
		}
		defer hub.Close()
		quiet := time.AfterFunc(idle, func() {
			cut.Add(1)
			conn.Close()
			hub.Close()
		})
		defer quiet.Stop()
		splice(conn, hub, func() { quiet.Reset(idle) })
	})
	_, port, err := net.SplitHostPort(balancer)
	w.must(err)
	p := w.join("prod-eu", net.JoinHostPort(nearEnd(int(lines.Load())+1), port)).start().connected()
	time.Sleep(2 * idle)
	p.steady()
	if n := cut.Load(); n > 0 { // the one for joining has ended by itself
		t.Errorf("the load balancer cut %d connections", n)
	}
}

// TestAProxy: the agent has no way to the hub but an HTTP proxy, which wants a password; its bootstrap says so, or its
// environment.
func TestAProxy(t *testing.T) {
	w := newWorld(t, probeInterval)
	var passed atomic.Int32
	address := listen(t, "0.0.0.0:0", func(conn net.Conn) {
		reader := bufio.NewReader(conn)
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		request.Header.Set("Authorization", request.Header.Get("Proxy-Authorization"))
		if _, password, _ := request.BasicAuth(); request.Method != http.MethodConnect || password != "s3cret" || request.Host != "hub.umbel.test:443" {
			io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		hub, err := net.Dial("tcp", "127.0.0.1:"+w.port)
		if err != nil {
			return
		}
		defer hub.Close()
		passed.Add(1)
		io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		splice(conn, hub, func() {})
	})
	_, port, err := net.SplitHostPort(address)
	w.must(err)
	for _, c := range []struct {
		reason string
		name   v1alpha1.ClusterName
		env    func(proxy string) []string
		boot   func(proxy string) string
	}{
		{"as umbel join --proxy said", "by-setting", func(string) []string { return nil }, func(proxy string) string { return proxy }},
		{"as HTTPS_PROXY says", "by-environment", func(proxy string) []string { return []string{"HTTPS_PROXY=" + proxy, "NO_PROXY=127.0.0.1"} }, func(string) string { return "" }},
	} {
		before := passed.Load()
		proxy := "http://agent:s3cret@" + net.JoinHostPort(nearEnd(int(lines.Load())+1), port)
		// The agent cannot look the name up: only the proxy can.
		w.proxy = c.boot(proxy)
		p := w.join(c.name, hubName+":443", c.env(proxy)...)
		w.hub.tell(order{Do: "hold", Cluster: string(p.name), Value: "v1"})
		p.start().connected().holds("v1")
		if n := passed.Load() - before; n < 2 { // to join, and the session; on a busy machine one may be tried again
			t.Errorf("%s: %d connections went through the proxy", c.reason, n)
		}
		if n := p.process.says("s3cret"); n > 0 {
			t.Errorf("%s: the agent logged the proxy's password", c.reason)
		}
		p.steady()
	}
	w.proxy = ""
}

// TestNamesThatChange: the hub's name has several addresses of which the first is dead, and then others.
func TestNamesThatChange(t *testing.T) {
	w := newWorld(t, time.Second)
	n := int(lines.Load()) + 1
	names := &nameServer{}
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	w.must(os.WriteFile(resolv, []byte("nameserver "+nearEnd(n)+"\noptions timeout:1 attempts:2\n"), 0o644))
	names.say([4]byte{10, 77, byte(n), 5}, [4]byte{10, 77, byte(n), 1}) // the first swallows what is sent to it
	names.serve(t)
	p := w.join("prod-eu", net.JoinHostPort(hubName, w.port), resolvEnv+"="+resolv)
	began := time.Now()
	p.start().connected()
	t.Logf("connected past a dead address after %v", time.Since(began).Round(time.Millisecond))

	// The hub moves: connections to it end, and its name has another address, which leads there by another way.
	names.say([4]byte{10, 77, byte(n), 5})
	w.must(cutConnections(p))
	w.eventually("the agent has lost the hub", func() error { return p.is(metav1.ConditionUnknown) })
	asked := names.asked.Load()
	names.say([4]byte{10, 77, byte(n), 1})
	p.line.Mend()
	p.connected()
	if names.asked.Load() == asked {
		t.Error("the agent did not look the name up again")
	}
}

// cutConnections cuts the line until the agent has noticed.
func cutConnections(p *place) error {
	p.line.Cut(line.Both)
	for range 600 {
		if p.process.says("not in session with the hub") > 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the agent did not notice within a minute")
}

// nameServer answers every question for an address with what it was told to say.
type nameServer struct {
	mu        sync.Mutex
	addresses [][4]byte
	asked     atomic.Int32
}

func (s *nameServer) say(addresses ...[4]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addresses = addresses
}

func (s *nameServer) serve(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "0.0.0.0:53")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var question dnsmessage.Message
			if question.Unpack(buffer[:n]) != nil || len(question.Questions) != 1 {
				continue
			}
			s.asked.Add(1)
			if reply, err := s.reply(question).Pack(); err == nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
}

func (s *nameServer) reply(question dnsmessage.Message) *dnsmessage.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply := &dnsmessage.Message{Header: dnsmessage.Header{ID: question.ID, Response: true, RecursionAvailable: true}, Questions: question.Questions}
	q := question.Questions[0]
	if q.Type != dnsmessage.TypeA {
		return reply
	}
	for _, address := range s.addresses {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: address},
		})
	}
	return reply
}

// listen accepts connections until the test ends, and returns where.
func listen(t *testing.T, address string, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			serving.Go(func() {
				serve(conn)
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
	return listener.Addr().String()
}

// splice copies both ways until one of them ends; moved hears of everything.
func splice(a, b net.Conn, moved func()) {
	ctx, cancel := context.WithCancel(context.Background())
	move := func(to, from net.Conn) {
		defer cancel()
		buffer := make([]byte, 32<<10)
		for {
			n, err := from.Read(buffer)
			moved()
			if n > 0 {
				if _, err := to.Write(buffer[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	var moving sync.WaitGroup
	moving.Go(func() { move(a, b) })
	moving.Go(func() { move(b, a) })
	<-ctx.Done()
	a.Close()
	b.Close()
	moving.Wait()
}
