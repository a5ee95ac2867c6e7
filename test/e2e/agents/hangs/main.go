// Command hangs is an agent that does well in its rehearsal, and hangs when it matters: a build whose fault only its guard can
// find, for the stories of upgrades.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/agent"
)

func main() {
	o := agent.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.StringVar(&o.Dir, "dir", "", "as of the agent")
	flag.StringVar(&o.Bootstrap, "bootstrap", "", "as of the agent")
	flag.StringVar(&o.AuditLog, "audit-log", "", "as of the agent")
	kubeconfig := flag.String("kubeconfig", "", "as of the agent")
	rehearse := flag.Bool("rehearse", false, "as of the agent")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if !*rehearse {
		fmt.Fprintln(os.Stderr, "this agent hangs")
		<-ctx.Done()
		return
	}
	var err error
	o.Config, err = clientcmd.BuildConfigFromFlags("", *kubeconfig) // the pod's service account without one
	if err == nil {
		err = agent.Rehearse(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
