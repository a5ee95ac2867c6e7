// Command umbel-capi runs Cluster API's core, its topologies, its health checks and its kubeadm providers in one process:
// one cache of the hub's API, one set of connections to the clusters, one server of webhooks.
//
// It is a module and a process of its own: Cluster API keeps feature gates, conversions and flags in package variables,
// promises stability of nothing that is linked here, and costs a hub without lifecycle nothing so. The hub starts it where
// it leads, and brings what `umbel-capi components` prints into the API before that.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/cluster-api/controllers/remote"
	"sigs.k8s.io/cluster-api/feature"
	"sigs.k8s.io/cluster-api/util/apiwarnings"
	ctrl "sigs.k8s.io/controller-runtime"
)

// components are Cluster API's manifests of this very version, made by `make capi` from its module.
//
//go:embed components.yaml
var components string

// name is how Cluster API's parts call themselves in what they write and ask.
const name = "umbel-capi"

func main() {
	if len(os.Args) == 2 && os.Args[1] == "components" {
		fmt.Print(components)
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options are the flags, named as those of Cluster API's own managers, so that the hub starts all providers alike.
type options struct {
	kubeconfig, certDir, health string
	port                        int
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "how the hub's API is reached")
	flags.StringVar(&o.certDir, "webhook-cert-dir", "", "the folder of the webhooks' tls.crt and tls.key")
	flags.StringVar(&o.health, "health-addr", "127.0.0.1:0", "where /readyz is served")
	flags.IntVar(&o.port, "webhook-port", 9443, "where webhooks are served on 127.0.0.1")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig of the hub's API %s: %w", o.kubeconfig, err)
	}
	config.QPS = -1 // the API server's priority and fairness decides
	config.UserAgent = remote.DefaultClusterAPIUserAgent(name)
	config.WarningHandler = apiwarnings.DefaultHandler(klog.Background().WithName("API server warning"))
	ctrl.SetLogger(klog.Background())
	// Taints of a pool are upstream's alpha; without it a Cluster with some is refused.
	if err := feature.MutableGates.Set("ClusterTopology=true,MachineTaintPropagation=true"); err != nil {
		return err
	}
	manager, err := newManager(config, o)
	if err != nil {
		return err
	}
	clusters, secrets, err := connect(ctx, manager)
	if err != nil {
		return err
	}
	if err := addReconcilers(ctx, manager, clusters, secrets); err != nil {
		return err
	}
	if err := addWebhooks(manager, clusters); err != nil {
		return err
	}
	return manager.Start(ctx)
}
