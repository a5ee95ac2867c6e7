// Command umbel-agent is what runs in a member cluster. See package agent.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/internal/upgrade/self"
	"umbel.dev/umbel/internal/version"
)

func main() {
	dir := flag.String("dir", "/var/lib/umbel-agent", "folder that survives the agent: its key and the desired state")
	bootstrap := flag.String("bootstrap", "/etc/umbel/bootstrap.json", "file that says where the hub is")
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the member (default: the pod's service account)")
	auditLog := flag.String("audit-log", "", "audit log of the member's API server, or a pattern for those of several: who changed or deleted what is applied (default: not read)")
	rehearse := flag.Bool("rehearse", false, "find out whether this program could be the agent, and end")
	guard := flag.Bool("guard", false, "watch over an upgrade of the agent of this cluster, and end")
	showVersion := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *showVersion {
		fmt.Println(version.Version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	o := agent.Options{Dir: *dir, Bootstrap: *bootstrap, AuditLog: *auditLog, Log: log}
	act := agent.Run
	switch {
	case *rehearse:
		act = agent.Rehearse
	case *guard:
		act = agent.Guard
	case *kubeconfig != "":
		o.Args = os.Args[1:]
		act = launch
	}
	err := access(&o, *kubeconfig)
	if err == nil {
		err = act(ctx, o)
	}
	if err != nil {
		log.Error("the agent ends", "error", err)
		os.Exit(self.ExitCode(err))
	}
}
