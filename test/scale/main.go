// Command scale measures what a hub costs and how fast it is with many members: the real hub as a process, and the real
// agent code many times over in this process, over TLS on loopback. Each agent has a Kubernetes API in memory (package
// fakekube). Agents and hub share the machine, so what is measured of one includes that the other works beside it.
//
//	go run ./test/scale                       100, 1,000 and 10,000 agents
//	go run ./test/scale -agents 1000          one size
//	go run ./test/scale -profile build/bench  beside it, CPU and heap profiles of the hub
//	go run ./test/scale -metrics 1000x1000    what it costs that 1,000 clusters send 1,000 series each (build/bench/metrics.json): sessions as
//	                                          agents have them, with samples that are made up
//
// For each size it prints a table and writes build/bench/scale-N.json: an array of {name, value, unit, goal, better}.
// What fails leaves its rows out; it ends with code 1 then. 10,000 agents take a quarter of an hour on two processors that
// have nothing else to do, and longer beside other work.
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
	worker := flag.String("worker", "", "run agents that keep their files in this `FOLDER`, as the input says (for this program itself)")
	measured := flag.String("metrics", "", "`CLUSTERSxSERIES` whose metrics are kept, in place of agents that hold packages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := func() error {
		if *runHub != "" {
			return serveProfiledHub(ctx, *runHub)
		}
		if *worker != "" {
			debug.SetGCPercent(300) // of agents that share a process here, and leave the processors to the hub
			return work(ctx, *worker, os.Stdin, os.Stdout)
		}
		if *measured != "" {
			var clusters, series int
			if _, err := fmt.Sscanf(*measured, "%dx%d", &clusters, &series); err != nil || clusters < 1 || series < names {
				return fmt.Errorf("-metrics %q: it is a number of clusters and one of series of each, such as 1000x1000", *measured)
			}
			if err := checkFiles(clusters); err != nil {
				return err
			}
			return measureMetrics(ctx, clusters, series, *profiles)
		}
		for text := range strings.SplitSeq(*sizes, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return fmt.Errorf("-agents %q: %q is not a number of agents", *sizes, text)
			}
			if err := checkFiles(n); err != nil {
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
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "scale: it was told to end:", context.Cause(ctx))
		}
		os.Exit(1)
	}
}

// checkFiles says whether the hub may have a connection of each agent open.
func checkFiles(agents int) error {
	need := uint64(agents + agents/5 + 1000)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if limit.Max < need {
		return fmt.Errorf("a process may have %d files open and the hub needs %d: `ulimit -n` raises that", limit.Max, need)
	}
	return nil
}
