//go:build e2e

package net

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"umbel.dev/umbel/test/net/line"
)

// probeInterval is the one that a hub has unless told otherwise.
const probeInterval = 5 * time.Second

// TestBadLines is the main job on lines that are bad in one way each: the agent comes, a change arrives, a watch and an
// exec go on, and the hub never takes the member for lost.
func TestBadLines(t *testing.T) {
	for _, c := range []struct {
		reason  string
		quality line.Quality
	}{
		{"a good line", line.Quality{}},
		{"one packet in twenty is lost", line.Quality{Latency: 10 * time.Millisecond, Loss: 0.05}},
		{"300 ms there and 300 ms back", line.Quality{Latency: 300 * time.Millisecond}},
		{"both", line.Quality{Latency: 150 * time.Millisecond, Loss: 0.05}},
		{"256 kbit/s", line.Quality{Latency: 20 * time.Millisecond, Bandwidth: 32_000}},
	} {
		t.Run(c.reason, func(t *testing.T) {
			w := newWorld(t, probeInterval)
			p := w.join("prod-eu", "")
			p.line.Set(c.quality)
			w.hub.tell(order{Do: "hold", Cluster: "prod-eu", Value: "v1"})
			began := time.Now()
			p.start().connected()
			connected := time.Since(began)
			p.holds("v1")

			watch, err := p.request(t.Context(), "/api/v1/namespaces/default/configmaps?watch=1")
			w.must(err)
			defer watch.Body.Close()
			shell, err := p.exec(t.Context())
			w.must(err)
			defer shell.Close()
			began = time.Now()
			w.hub.tell(order{Do: "hold", Cluster: "prod-eu", Value: "v2"})
			w.must(sees(watch.Body, `"value":"v2"`))
			seen := time.Since(began)
			var sent, back pattern
			began = time.Now()
			for range 10 {
				w.must(echoes(shell, &sent, &back, 100))
			}
			echoed := time.Since(began) / 10
			p.steady()
			t.Logf("connected in %v, a change seen by a watch in %v, an echo in %v, %d packets lost",
				connected.Round(time.Millisecond), seen.Round(time.Millisecond), echoed.Round(time.Millisecond), p.line.Dropped.Load())
		})
	}
}

// TestBulkDoesNotStarveProbes: on 256 kbit/s, where a megabyte takes half a minute, a member that pulls a blob while
// people read logs is not lost, and a keystroke comes back in between.
func TestBulkDoesNotStarveProbes(t *testing.T) {
	w := newWorld(t, probeInterval)
	p := w.join("prod-eu", "").start().connected()
	p.line.Set(line.Quality{Latency: 20 * time.Millisecond, Bandwidth: 32_000})
	shell, err := p.exec(t.Context())
	w.must(err)
	defer shell.Close()
	var reading sync.WaitGroup
	defer reading.Wait()
	for range 4 {
		logs, err := p.request(t.Context(), "/api/v1/namespaces/default/pods/shell/log")
		w.must(err)
		defer logs.Body.Close()
		reading.Go(func() { io.Copy(io.Discard, logs.Body) })
	}
	w.hub.tell(order{Do: "hold", Cluster: "prod-eu", Value: "v1", Noise: 1 << 20})
	var sent, back pattern
	var slowest time.Duration
	for began := time.Now(); time.Since(began) < 45*time.Second; {
		key := time.Now()
		w.must(echoes(shell, &sent, &back, 1))
		slowest = max(slowest, time.Since(key))
		time.Sleep(200 * time.Millisecond)
	}
	p.holds("v1")
	p.steady()
	t.Logf("the slowest of the keystrokes took %v", slowest.Round(time.Millisecond))
}

// steady fails unless the member has had one session, which goes on.
func (p *place) steady() {
	p.Helper()
	if began, ended := p.sessions(); began != 1 || ended != 0 {
		p.Errorf("%d sessions of %s began and %d ended, want one that goes on: %s", began, p.name, ended, strings.Join(p.hub.tail(10), "\n"))
	}
}

// sees reads a stream of lines until one holds the words.
func sees(stream io.Reader, words string) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), words) {
			return nil
		}
	}
	return fmt.Errorf("the stream ended before %s came: %v", words, lines.Err())
}
