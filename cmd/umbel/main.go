// Command umbel is the command line of a fleet, the hub, and what runs local clusters.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"umbel.dev/umbel/internal/cli"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second interrupt ends what does not heed the first
	err := exit.Execute(ctx, cli.NewRoot(client.New(output.System())))
	if err != nil && !exit.Silent(err) {
		fmt.Fprintln(os.Stderr, "umbel:", err)
	}
	return exit.Code(err)
}
