// Command scale measures what a hub costs and how fast it is with many members: the real hub as a process, and the real
// agent code many times over in this process, over TLS on loopback. Each agent has a Kubernetes API in memory (package
// fakekube). Agents and hub share the machine, so what is measured of one includes that the other works beside it.
//
//	go run ./test/scale                       100, 1,000 and 10,000 agents
//	go run ./test/scale -agents 1000          one size
//	go run ./test/scale -profile build/bench  beside it, CPU and heap profiles of the hub
//
// For each size it prints a table and writes build/bench/scale-N.json: an array of {name, value, unit, goal, better}.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	sizes := flag.String("agents", "100,1000,10000", "numbers of agents, separated by commas")
	settle := flag.Duration("settle", 130*time.Second, "how long the fleet is left alone before what is idle is measured; Go collects garbage every two minutes at the latest")
	profiles := flag.String("profile", "", "`FOLDER` for profiles of the hub, which then runs in a process of this program")
	runHub := flag.String("hub", "", "run a hub that can be profiled for this data `FOLDER` (for -profile)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := func() error {
		if *runHub != "" {
			return serveProfiledHub(ctx, *runHub)
		}
		debug.SetGCPercent(300) // of agents that are one process here, and leave the processors to the hub
		for text := range strings.SplitSeq(*sizes, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return fmt.Errorf("-agents %q: %q is not a number of agents", *sizes, text)
			}
			if err := raiseFiles(n); err != nil {
				return err
			}
			if err := measure(ctx, options{n, *settle, *profiles}); err != nil {
				return fmt.Errorf("%d agents: %w", n, err)
			}
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// raiseFiles makes room for a connection of each agent, here and in the hub, which inherits it.
func raiseFiles(agents int) error {
	need := uint64(agents + agents/2 + 2000)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Cur >= need {
		return nil
	}
	limit = unix.Rlimit{Cur: need, Max: max(need, limit.Max)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: limit.Cur, Max: limit.Max}); err != nil {
		return fmt.Errorf("%d agents need %d open files: `ulimit -n` allows fewer: %w", agents, need, err)
	}
	return nil
}
