// Command bench measures what Umbel promises about speed, on real clusters with real agents in pods, beside the limit: a
// bare client-go program on the same cluster in the same run. Machines are noisy; ratios are what to look at.
//
//	go run ./test/bench                   everything
//	go run ./test/bench -only repair      one of: start, reach, failover, commit, render, apply, repair (which applies first)
//	go run ./test/bench -objects 1000     other sizes
//
// It prints a table and writes build/bench/NAME.json: an array of {name, value, unit, goal, better}.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

func main() {
	only := flag.String("only", "start,reach,failover,commit,render,repair", "what to measure, separated by commas")
	sizes := flag.String("objects", "1000,10000", "numbers of objects for repair, separated by commas")
	seed := flag.Uint64("seed", 20261122, "seed of the mutator")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*only, ","), strings.Split(*sizes, ","), *seed); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, parts, sizes []string, seed uint64) (err error) {
	home, err := os.MkdirTemp("", "umbel-bench-")
	if err != nil {
		return err
	}
	fleet := &rig.Fleet{Home: home, Log: os.Stderr}
	defer func() {
		if _, downErr := fleet.Umbel(context.WithoutCancel(ctx), "down"); err == nil {
			err = downErr
		}
		_ = os.RemoveAll(home)
	}()
	for _, part := range []struct {
		name    string
		measure func(context.Context, *rig.Fleet, *report.Report) error
	}{{"start", measureStart}, {"reach", measureReach}, {"failover", measureFailover}, {"commit", measureCommit}, {"render", measureRender}} {
		if !slices.Contains(parts, part.name) {
			continue
		}
		r := report.New(part.name)
		if err := errors.Join(part.measure(ctx, fleet, r), r.Write()); err != nil {
			return err
		}
	}
	for name, measure := range map[string]func(context.Context, *rig.Fleet, *report.Report, int, uint64) error{
		"apply": measureApply, "repair": measureRepair,
	} {
		if !slices.Contains(parts, name) {
			continue
		}
		r := report.New(name)
		for _, text := range sizes {
			n, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			if err := measure(ctx, fleet, r, n, seed); err != nil {
				return err
			}
		}
		if err := r.Write(); err != nil {
			return err
		}
	}
	return nil
}
