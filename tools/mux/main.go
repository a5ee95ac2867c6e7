// Command mux compares ways to carry many streams over one connection between a hub and an agent, on the same work: what ADR
// 0015 stands on. Both ends are in this process, over TLS 1.3 on loopback.
//
//	cd tools/mux && go run .              a table
//	ip netns exec lossy go run .        on a bad network (tc qdisc add dev lo root netem delay 10ms loss 1%)
//
// Processor time is that of both ends. On a busy machine it says more than the time.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stream is one stream at either end.
type stream interface {
	io.ReadWriteCloser
}

// way is a connection: the hub opens streams and the agent accepts them.
type way interface {
	open(ctx context.Context) (stream, error)
	accept(ctx context.Context) (stream, error)
	close()
}

// ways are what is compared.
var ways = []struct {
	name string
	make func(ctx context.Context) (way, error)
}{
	{"yamux 0.1.2", newYamux},
	{"yamux, as in the product", newTunnel},
	{"smux 1.5", newSmux},
	{"HTTP/2, CONNECT for each stream", newHTTP2},
	{"QUIC (quic-go)", newQUIC},
}

// work is how much is done; less of it on a bad network.
type work struct {
	rounds  int
	bulk    int
	streams int
	conns   int
}

func main() {
	w := work{}
	flag.IntVar(&w.rounds, "rounds", 5000, "questions of 1 kB, one after another")
	flag.IntVar(&w.bulk, "bulk", 512, "`MB` over one stream")
	flag.IntVar(&w.streams, "streams", 5000, "streams that are open at once")
	flag.IntVar(&w.conns, "conns", 500, "idle connections with one stream each")
	only := flag.String("only", "", "part of the name of the one to measure")
	limit := flag.Duration("limit", 2*time.Minute, "how long each may take")
	flag.Parse()
	fmt.Printf("| | 1 kB there and back, p50 | processor | bulk | processor for 1 GB | 1 kB beside bulk, p50 | p99 | stream, memory | idle connection, memory | goroutines |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, each := range ways {
		if !strings.Contains(each.name, *only) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), *limit)
		line, err := measure(ctx, each.make, w)
		cancel()
		if err != nil {
			line = err.Error() + " |"
		}
		fmt.Printf("| %s | %s\n", each.name, line)
	}
}

func measure(ctx context.Context, open func(context.Context) (way, error), w work) (string, error) {
	c, err := open(ctx)
	if err != nil {
		return "", err
	}
	var serving sync.WaitGroup
	serving.Go(func() { serve(ctx, c, &serving) })
	defer serving.Wait()
	defer c.close()
	times, spent, err := ask(ctx, c, w.rounds)
	if err != nil {
		return "", err
	}
	rate, each, err := pour(ctx, c, w.bulk<<20)
	if err != nil {
		return "", err
	}
	beside, err := besideBulk(ctx, c, w.rounds/10)
	if err != nil {
		return "", err
	}
	perStream, err := many(ctx, c, w.streams)
	if err != nil {
		return "", err
	}
	perConn, routines, err := idle(ctx, open, w.conns)
	return fmt.Sprintf("%.0f µs | %.0f µs | %.0f MB/s | %.2f s | %.2f ms | %.2f ms | %.1f kB | %.1f kB | %.1f |",
		us(times, 0.5), spent, rate, each, us(beside, 0.5)/1000, us(beside, 0.99)/1000, perStream, perConn, routines), err
}

// What a stream is for is its first byte.
const (
	echo = 'e'
	flow = 'f'
)

// serve does on the agent's end what each stream asks for.
func serve(ctx context.Context, c way, running *sync.WaitGroup) {
	for {
		s, err := c.accept(ctx)
		if err != nil {
			return
		}
		running.Go(func() {
			defer s.Close()
			var what [1]byte
			if _, err := io.ReadFull(s, what[:]); err != nil {
				return
			}
			if what[0] == echo {
				question := make([]byte, 1024)
				for {
					if _, err := io.ReadFull(s, question); err != nil {
						return
					}
					if _, err := s.Write(question); err != nil {
						return
					}
				}
			}
			running.Go(func() { // until the hub has enough
				_, _ = io.Copy(io.Discard, s)
				s.Close()
			})
			piece := make([]byte, 32<<10)
			for {
				if _, err := s.Write(piece); err != nil {
					return
				}
			}
		})
	}
}

func begin(ctx context.Context, c way, what byte) (stream, error) {
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.Write([]byte{what})
	return s, err
}

// ask asks one question after another over one stream.
func ask(ctx context.Context, c way, n int) (times []time.Duration, spent float64, err error) {
	s, err := begin(ctx, c, echo)
	if err != nil {
		return nil, 0, err
	}
	defer s.Close()
	question := make([]byte, 1024)
	before := processor()
	for range n {
		start := time.Now()
		if _, err := s.Write(question); err != nil {
			return nil, 0, err
		}
		if _, err := io.ReadFull(s, question); err != nil {
			return nil, 0, err
		}
		times = append(times, time.Since(start))
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
	}
	return times, float64((processor() - before).Microseconds()) / float64(n), nil
}

// pour reads n bytes as fast as they come: MB a second, and seconds of a processor for 1 GB.
func pour(ctx context.Context, c way, n int) (rate, each float64, err error) {
	s, err := begin(ctx, c, flow)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	before, start := processor(), time.Now()
	buffer := make([]byte, 64<<10)
	got := 0
	for got < n && ctx.Err() == nil {
		k, err := s.Read(buffer)
		if err != nil {
			return 0, 0, err
		}
		got += k
	}
	gb := float64(got) / 1e9
	return gb * 1000 / time.Since(start).Seconds(), (processor() - before).Seconds() / gb, ctx.Err()
}

// besideBulk asks while bytes pour through the same connection.
func besideBulk(ctx context.Context, c way, n int) ([]time.Duration, error) {
	s, err := begin(ctx, c, flow)
	if err != nil {
		return nil, err
	}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, s) })
	defer reading.Wait()
	defer s.Close()
	times, _, err := ask(ctx, c, n)
	return times, err
}

// many opens streams, asks each once, and says what memory each takes while it is open, both ends together.
func many(ctx context.Context, c way, n int) (float64, error) {
	before := memory()
	all := make([]stream, n)
	question := make([]byte, 1024)
	for i := range all {
		s, err := begin(ctx, c, echo)
		if err != nil {
			return 0, fmt.Errorf("stream %d: %w", i, err)
		}
		all[i] = s
		if _, err := s.Write(question); err != nil {
			return 0, fmt.Errorf("stream %d: %w", i, err)
		}
		if _, err := io.ReadFull(s, question); err != nil {
			return 0, fmt.Errorf("stream %d: %w", i, err)
		}
	}
	after := memory()
	for _, s := range all {
		s.Close()
	}
	time.Sleep(2 * time.Second) // what was theirs is not to count for what is measured next
	return float64(after-before) / float64(n) / 1000, nil
}

// idle opens connections with one stream each, and says what each takes, both ends together.
func idle(ctx context.Context, open func(context.Context) (way, error), n int) (kB, routines float64, err error) {
	before, goroutines := memory(), runtime.NumGoroutine()
	question := make([]byte, 1024)
	var running sync.WaitGroup
	defer running.Wait()
	for range n {
		c, err := open(ctx)
		if err != nil {
			return 0, 0, err
		}
		defer c.close()
		running.Go(func() { serve(ctx, c, &running) })
		s, err := begin(ctx, c, echo)
		if err != nil {
			return 0, 0, err
		}
		if _, err := s.Write(question); err != nil {
			return 0, 0, err
		}
		if _, err := io.ReadFull(s, question); err != nil {
			return 0, 0, err
		}
	}
	return float64(memory()-before) / float64(n) / 1000, float64(runtime.NumGoroutine()-goroutines) / float64(n), nil
}

// memory is what lives on the heap and on stacks.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func processor() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fmt.Fprintln(os.Stderr, "mux:", err)
		os.Exit(1)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func us(all []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Nanoseconds()) / 1000
}
