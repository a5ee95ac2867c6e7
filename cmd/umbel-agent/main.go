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

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"umbel.dev/umbel/internal/agent"
	"umbel.dev/umbel/internal/version"
)

func main() {
	dir := flag.String("dir", "/var/lib/umbel-agent", "folder that survives the agent: its key and the desired state")
	bootstrap := flag.String("bootstrap", "/etc/umbel/bootstrap.json", "file that says where the hub is")
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the member (default: the pod's service account)")
	showVersion := flag.Bool("version", false, "print the version and end")
	flag.Parse()
	if *showVersion {
		fmt.Println(version.Version)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, agent.Options{Dir: *dir, Bootstrap: *bootstrap, Log: log}, *kubeconfig); err != nil {
		log.Error("the agent ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o agent.Options, kubeconfig string) (err error) {
	if kubeconfig == "" {
		o.Config, err = rest.InClusterConfig()
	} else {
		o.Config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return err
	}
	return agent.Run(ctx, o)
}
