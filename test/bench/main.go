// Command bench measures what Umbel promises about speed, on real clusters with real agents in pods, beside the limit: a
// bare client-go program on the same cluster in the same run. Machines are noisy; ratios are what to look at.
//
//	go run ./test/bench                   everything
//	go run ./test/bench -only repair      one of: place, start, reach, failover, commit, render, measured, apply, repair (which applies
//	                                      first), and edits, resync (both of the largest size), memory, peers, planes; and, each of a fleet of its own,
//	                                      snapshot, grow, clusters
//	go run ./test/bench -objects 500x10   other sizes: 500 objects in 10 packages
//	go run ./test/bench -strict           Packages that are trusted with nothing: signed, planned, and acting as a team
//
// It prints a table and writes build/bench/NAME.json: an array of {name, value, unit, goal, better}.
package main

import (
	"cmp"
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
	if len(os.Args) == 3 && os.Args[1] == relayWord {
		fmt.Fprintln(os.Stderr, "bench:", runRelay(os.Args[2]))
		os.Exit(1)
	}
	only := flag.String("only", "place,start,reach,failover,commit,render,measured,repair,edits,resync,memory", "what to measure, separated by commas")
	sizes := flag.String("objects", "1000,10000,10000x50", "numbers of objects, and of packages that they are in, separated by commas")
	strict := flag.Bool("strict", false, "commits are signed, releases wait for their plans, and the agent acts as a team's account")
	clusters := flag.Int("clusters", 500, "how `MANY` clusters in memory Cluster API makes, where they are measured")
	seed := flag.Uint64("seed", 20261122, "seed of the mutator")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*only, ","), strings.Split(*sizes, ","), *strict, *seed, *clusters); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, parts, sizes []string, strict bool, seed uint64, clusters int) (err error) {
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
	many := func(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
		return measureManyClusters(ctx, fleet, r, clusters)
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context, *rig.Fleet, *report.Report) error
	}{{"place", measurePlace}, {"start", measureStart}, {"reach", measureReach}, {"failover", measureFailover}, {"commit", measureCommit}, {"render", measureRender}, {"measured", measureMeasured}, {"snapshot", measureSnapshot}, {"planes", measurePlanes}, {"grow", measureUpgrade}, {"clusters", many}} {
		if !slices.Contains(parts, part.name) {
			continue
		}
		r := report.New(part.name)
		if err := errors.Join(part.measure(ctx, fleet, r), r.Write()); err != nil {
			return err
		}
	}
	return measureSizes(ctx, fleet, parts, sizes, strict, seed)
}

// measureSizes measures what depends on how many objects there are.
func measureSizes(ctx context.Context, fleet *rig.Fleet, parts, sizes []string, strict bool, seed uint64) error {
	var all []size
	for _, text := range sizes {
		of, err := sizeOf(text)
		if err != nil {
			return err
		}
		of.strict = strict
		all = append(all, of)
	}
	most := slices.MaxFunc(all, func(a, b size) int { return cmp.Or(a.objects-b.objects, b.packages-a.packages) })
	for _, part := range []struct {
		name    string
		measure func(context.Context, *rig.Fleet, *report.Report, size, uint64) error
		sizes   []size
	}{
		{"apply", measureApply, all}, {"repair", measureRepair, all},
		{"edits", measureEdits, []size{most}}, {"resync", measureResync, []size{most}}, {"memory", measureMemory, []size{most}},
		{"peers", measurePeers, slices.DeleteFunc(slices.Clone(all), func(of size) bool { return of.packages > 1 })},
	} {
		if !slices.Contains(parts, part.name) {
			continue
		}
		r := report.New(part.name)
		for _, of := range part.sizes {
			if err := part.measure(ctx, fleet, r, of, seed); err != nil {
				return errors.Join(err, r.Write())
			}
		}
		if err := r.Write(); err != nil {
			return err
		}
	}
	return nil
}

// sizeOf reads OBJECTS or OBJECTSxPACKAGES.
func sizeOf(text string) (of size, err error) {
	objects, packages, several := strings.Cut(text, "x")
	if of.objects, err = strconv.Atoi(objects); err != nil {
		return of, fmt.Errorf("-objects %s: %w", text, err)
	}
	if of.packages = 1; !several {
		return of, nil
	}
	if of.packages, err = strconv.Atoi(packages); err != nil || of.packages < 1 || of.objects%of.packages != 0 {
		return of, fmt.Errorf("-objects %s: so many objects cannot be in so many packages, as many in each", text)
	}
	return of, nil
}
