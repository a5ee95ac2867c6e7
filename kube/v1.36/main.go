// Command umbel-kube is the embedded Kubernetes: every component that a cluster needs, in one binary.
//
// It answers one question: where does a Kubernetes come from on a machine that has none? It holds etcd, the part of etcdutl that
// reads and restores snapshots, kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl, unchanged, behind
// one multi-call entry point: `umbel-kube COMPONENT [flags]`, or a link to it that is named like the component.
// It adds no behaviour of its own; whoever starts a component (the hub, a local machine) decides its flags.
//
// It is a Go module of its own, one per Kubernetes minor, because k8s.io/kubernetes pins the versions of all
// that it imports: the main module keeps its own, lighter set and links in seconds.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/etcdutl/v3/etcdutl"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go metrics of every component
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	"k8s.io/component-base/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// components maps a name to what runs under it; args excludes the name.
var components = map[string]func(args []string) int{
	"etcd":                    runEtcd,
	"etcdutl":                 runCobra("etcdutl", newEtcdutl),
	"kube-apiserver":          runCobra("kube-apiserver", apiserver.NewAPIServerCommand),
	"kube-controller-manager": runCobra("kube-controller-manager", controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          runCobra("kube-scheduler", func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kube-proxy":              runCobra("kube-proxy", proxy.NewProxyCommand),
	"kubelet":                 runCobra("kubelet", func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kubectl":                 runCobra("kubectl", kubectl.NewDefaultKubectlCommand),
	"version":                 func([]string) int { fmt.Println(version.Get().GitVersion); return 0 },
}

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	run, ok := components[name]
	if !ok && len(args) > 0 {
		name, args = args[0], args[1:]
		run, ok = components[name]
	}
	if !ok {
		names := make([]string, 0, len(components))
		for n := range components {
			names = append(names, n)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "usage: umbel-kube COMPONENT [flags]\n\nComponents: %s\n", strings.Join(names, ", "))
		os.Exit(2)
	}
	os.Exit(run(args))
}

// runCobra hands args to a component whose entry point reads them from os.Args.
func runCobra(name string, command func() *cobra.Command) func([]string) int {
	return func(args []string) int {
		os.Args = append([]string{name}, args...)
		return cli.Run(command())
	}
}

func runEtcd(args []string) int {
	etcdmain.Main(append([]string{"etcd"}, args...)) // exits by itself on error
	return 0
}

// newEtcdutl is etcdutl's `snapshot`: what a control plane is restored by.
func newEtcdutl() *cobra.Command {
	cmd := &cobra.Command{Use: "etcdutl", Short: "Read and restore snapshots of etcd"}
	cmd.PersistentFlags().StringVarP(&etcdutl.OutputFormat, "write-out", "w", "simple", "fields, json, simple or table")
	cmd.AddCommand(etcdutl.NewSnapshotCommand())
	return cmd
}
