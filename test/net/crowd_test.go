//go:build e2e

package net

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// crowd are people who use members through the hub. Each has one stream at a time, checks what comes, and begins anew when it
// ends. None of them has a timeout: what hangs is to be seen.
type crowd struct {
	*world
	tls    *tls.Config
	cancel context.CancelFunc
	alive  sync.WaitGroup
	people []*person

	mu    sync.Mutex
	wrong []string
	ends  map[string]int // how streams ended
}

// person does one thing with one member, again and again.
type person struct {
	*crowd
	place *place
	what  string
	moved atomic.Int64 // how often something worked
	ticks *ticks
	conn  *net.TCPConn // of the latest request
}

func (p *person) String() string { return p.what + " of " + string(p.place.name) }

// wrongly is what must not happen.
type wrongly struct{ what string }

func (w wrongly) Error() string { return w.what }

func wrong(format string, values ...any) error { return wrongly{fmt.Sprintf(format, values...)} }

// gather has people use every member, until disperse is called.
func (w *world) gather() *crowd {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	c := &crowd{world: w, tls: w.personTLS(), cancel: cancel, ends: map[string]int{}}
	for _, place := range w.members {
		for what, use := range map[string]func(*person, context.Context) error{
			"exec": (*person).exec, "another exec": (*person).exec, "bulk exec": (*person).bulkExec,
			"watch": (*person).watch, "another watch": (*person).watch, "log": (*person).log, "copy": (*person).copy,
			"get": (*person).get, "tick": (*person).tick,
		} {
			p := &person{crowd: c, place: place, what: what, ticks: &place.ticks}
			c.people = append(c.people, p)
			c.alive.Go(func() { p.live(ctx, use) })
		}
	}
	return c
}

func (p *person) live(ctx context.Context, use func(*person, context.Context) error) {
	for ctx.Err() == nil {
		err := use(p, ctx)
		if ctx.Err() != nil {
			return
		}
		p.note(err)
		select {
		case <-ctx.Done():
		case <-time.After(50*time.Millisecond + time.Duration(rand.IntN(100))*time.Millisecond):
		}
	}
}

func (p *person) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var bad wrongly
	if errors.As(err, &bad) {
		p.wrong = append(p.wrong, fmt.Sprintf("%s %s: %v", time.Now().Format("15:04:05.000"), p, err))
	}
	p.ends[ending(err)]++
}

// ending is how a stream ended, without what differs each time.
func ending(err error) string {
	switch text := fmt.Sprint(err); {
	case err == nil:
		return "complete"
	case strings.Contains(text, "reset by peer"):
		return "reset"
	case strings.Contains(text, "refused"):
		return "the hub is not there"
	case strings.Contains(text, "unexpected EOF"):
		return "cut off"
	case strings.HasSuffix(text, ": EOF"):
		return "closed before an answer"
	case strings.Contains(text, "Service Unavailable"):
		return "503"
	case strings.Contains(text, "Bad Gateway"):
		return "502"
	case strings.Contains(text, "closed network connection"):
		return "closed"
	default:
		return text
	}
}

// disperse ends it.
func (c *crowd) disperse() {
	c.cancel()
	c.alive.Wait()
}

// movesOn waits until everybody has been able to do something once more.
func (c *crowd) movesOn() {
	c.Helper()
	defer func() {
		if c.Failed() {
			c.Logf("streams and requests ended: %v", c.ends)
		}
	}()
	before := map[*person]int64{}
	for _, p := range c.people {
		before[p] = p.moved.Load()
	}
	c.eventually("everybody goes on or begins anew", func() error {
		for _, p := range c.people {
			if p.moved.Load() == before[p] {
				return fmt.Errorf("%s hangs", p)
			}
		}
		return nil
	})
}

// verdict reports what went wrong.
func (c *crowd) verdict() {
	c.Helper()
	for _, p := range c.people {
		if p.what == "tick" {
			c.wrong = append(c.wrong, p.ticks.missed()...)
		}
	}
	for _, what := range c.wrong[:min(len(c.wrong), 20)] {
		c.Error(what)
	}
	if more := len(c.wrong) - 20; more > 0 {
		c.Errorf("and %d more", more)
	}
	var ended []string
	for _, how := range slices.Sorted(maps.Keys(c.ends)) {
		ended = append(ended, fmt.Sprintf("%d %s", c.ends[how], how))
	}
	moved := int64(0)
	for _, p := range c.people {
		moved += p.moved.Load()
	}
	c.Logf("%d things worked; how streams and requests ended: %s", moved, strings.Join(ended, ", "))
}

// ask sends a request to the person's member. The caller closes the body.
func (p *person) ask(ctx context.Context, method, path string, header http.Header, body string) (*http.Response, error) {
	transport := &http.Transport{TLSClientConfig: p.tls.Clone(), DisableKeepAlives: true}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			p.conn = conn.(*net.TCPConn)
		}
		return conn, err
	}
	url := "https://127.0.0.1:" + p.port + "/clusters/" + string(p.place.name) + path
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, header)
	response, err := transport.RoundTrip(r)
	if err != nil || response.StatusCode < 300 {
		return response, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var status metav1.Status
	if json.Unmarshal(raw, &status) != nil || status.Kind != "Status" || status.Message == "" {
		return nil, wrong("%s %s: %s: %q is no Status that says why", method, path, response.Status, raw)
	}
	return nil, fmt.Errorf("%s: %s", response.Status, status.Message)
}

// shell opens an exec, which echoes.
func (p *person) shell(ctx context.Context) (io.ReadWriteCloser, error) {
	header := http.Header{"Connection": {"Upgrade"}, "Upgrade": {echoProtocol}}
	response, err := p.ask(ctx, http.MethodPost, "/api/v1/namespaces/default/pods/shell/exec", header, "")
	if err != nil {
		return nil, err
	}
	stream, ok := response.Body.(io.ReadWriteCloser)
	if !ok {
		return nil, wrong("exec was answered with %s", response.Status)
	}
	return stream, nil
}

// exec types something now and then.
func (p *person) exec(ctx context.Context) error {
	stream, err := p.shell(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	var sent, back pattern
	for {
		n := 1 + rand.IntN(100)
		if _, err := stream.Write(sent.next(n)); err != nil {
			return err
		}
		if err := p.comes(stream, &back, n); err != nil {
			return err
		}
		p.moved.Add(1)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
		}
	}
}

// bulkExec sends much and reads it back, slower than it could.
func (p *person) bulkExec(ctx context.Context) error {
	stream, err := p.shell(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	const each = 64 << 10
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stream.Close()
	writing.Go(func() {
		var sent pattern
		for {
			if _, err := stream.Write(sent.next(each)); err != nil {
				return
			}
		}
	})
	var back pattern
	for {
		if err := p.comes(stream, &back, each); err != nil {
			return err
		}
		p.moved.Add(1)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// comes reads n bytes of a stream that never ends by itself.
func (p *person) comes(stream io.Reader, want *pattern, n int) error {
	buffer := make([]byte, n)
	for n > 0 {
		got, err := stream.Read(buffer[:n])
		if bad := want.check(buffer[:got]); bad != nil {
			return wrong("%v", bad)
		}
		n -= got
		if err == io.EOF && p.wasReset() {
			return syscall.ECONNRESET
		}
		if err == io.EOF {
			return wrong("after %d bytes it ended as if it were complete", want.at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wasReset says whether the person's connection was reset, which the kernel tells to the one alone who writes, if somebody does.
func (p *person) wasReset() bool {
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return false
	}
	reset := false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		reset = err == nil && info.State == unix.BPF_TCP_CLOSE
	})
	return reset
}

// log reads one that never ends.
func (p *person) log(ctx context.Context) error {
	response, err := p.ask(ctx, http.MethodGet, "/api/v1/namespaces/default/pods/shell/log", nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var back pattern
	for {
		if err := p.comes(response.Body, &back, 8<<10); err != nil {
			return err
		}
		p.moved.Add(1)
		time.Sleep(100 * time.Millisecond)
	}
}

// answer asks and reads all of the answer.
func (p *person) answer(ctx context.Context, method, path string, header http.Header, body string) ([]byte, error) {
	response, err := p.ask(ctx, method, path, header, body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

// copy reads something of a size that it knows.
func (p *person) copy(ctx context.Context) error {
	size := uint64(1 + rand.IntN(600_000))
	response, err := p.ask(ctx, http.MethodGet, fmt.Sprintf("/api/v1/namespaces/default/pods/shell/log?bytes=%d", size), nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	var want pattern
	if bad := want.check(raw); bad != nil {
		return wrong("%v", bad)
	}
	if err == nil && want.at != size {
		return wrong("of %d bytes %d came, as if that were all", size, want.at)
	}
	if err == nil {
		p.moved.Add(1)
	}
	return err
}

const tickPath = "/api/v1/namespaces/default/configmaps/tick"

// tick counts up in the member.
func (p *person) tick(ctx context.Context) error {
	n := p.ticks.attempt()
	body := fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"tick","namespace":"default"},"data":{"n":"%d"}}`, n)
	raw, err := p.answer(ctx, http.MethodPatch, tickPath+"?fieldManager=crowd&force=true", http.Header{"Content-Type": {"application/apply-patch+yaml"}}, body)
	if err != nil {
		return err
	}
	if !json.Valid(raw) {
		return wrong("the answer to a write is %q", raw)
	}
	p.ticks.done(n)
	p.moved.Add(1)
	return nil
}

// get asks for what the member is to hold.
func (p *person) get(ctx context.Context) error {
	raw, err := p.answer(ctx, http.MethodGet, "/api/v1/namespaces/default/configmaps", nil, "")
	if err != nil {
		return err
	}
	if !json.Valid(raw) || !bytes.Contains(raw, []byte("ConfigMapList")) {
		return wrong("the answer is %q", raw)
	}
	p.moved.Add(1)
	return nil
}

// watch sees what tick writes: nothing that was acknowledged while it goes on is missing.
func (p *person) watch(ctx context.Context) error {
	response, err := p.ask(ctx, http.MethodGet, "/api/v1/namespaces/default/configmaps?watch=1", nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	saw := p.ticks.watch()
	lines := bufio.NewReader(response.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return wrong("a watch ended as if it were complete")
		}
		if err != nil {
			return err
		}
		var event struct {
			Type   string `json:"type"`
			Object struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
				Data     map[string]string `json:"data"`
			} `json:"object"`
		}
		if err := json.Unmarshal(line, &event); err != nil || event.Type == "ERROR" {
			return wrong("an event of a watch is %q", line)
		}
		if event.Object.Metadata.Name == "tick" {
			var n int
			fmt.Sscan(event.Object.Data["n"], &n)
			saw(n)
		}
		p.moved.Add(1)
	}
}

// ticks are what was written to a member one after the other, and what its watches saw of it in this round.
type ticks struct {
	mu      sync.Mutex
	tried   int
	acked   []int
	watches []*[]int
}

func (t *ticks) attempt() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried++
	return t.tried
}

func (t *ticks) done(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acked = append(t.acked, n)
}

func (t *ticks) watch() (saw func(int)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := &[]int{}
	t.watches = append(t.watches, seen)
	return func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		*seen = append(*seen, n)
	}
}

// missed says which watches saw not all that was acknowledged between the first and the last that they saw, or not in order.
// What was not acknowledged may have been written, at any time.
func (t *ticks) missed() (wrong []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer func() { t.watches = nil }()
	for _, seen := range t.watches {
		var got []int
		for _, n := range *seen {
			if _, acked := slices.BinarySearch(t.acked, n); acked {
				got = append(got, n)
			}
		}
		if len(got) == 0 {
			continue
		}
		first, _ := slices.BinarySearch(t.acked, got[0])
		if want := t.acked[first:min(len(t.acked), first+len(got))]; !slices.Equal(got, want) {
			wrong = append(wrong, fmt.Sprintf("a watch saw %v of what was written, %v", got, want))
		}
	}
	return wrong
}
