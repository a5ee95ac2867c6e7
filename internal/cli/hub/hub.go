// Package hub is `umbel hub`: it runs a hub in the foreground. `umbel hub image` writes images to files.
package hub

import (
	"log/slog"
	"net"
	"net/netip"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/span"
	"umbel.dev/umbel/internal/gateway"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/metrics/store"
)

const examples = `  # a hub with an API of its own, for this computer
  umbel hub

  # reachable by members on another address too
  umbel hub --listen 127.0.0.1 --listen 192.0.2.10 --advertise 192.0.2.10

  # with packages whose repositories are on this computer's disk, such as file:///srv/git/fleet.git
  umbel hub --allow-local-sources /srv/git

  # people sign in with the identity providers of a file that kube-apiserver would read, too
  umbel hub --authentication-config authentication.yaml

  # on an existing Kubernetes cluster, as one of several replicas behind a load balancer
  umbel hub --kubeconfig ~/.kube/config --listen 0.0.0.0 --port 8443 --advertise hub.example.com:443 \
    --registry https://registry.example.com/umbel --replica hub-0 --replica-address 10.0.0.7:8443

  # on an existing Kubernetes cluster
  umbel hub --kubeconfig ~/.kube/config --advertise 192.0.2.10 --listen 0.0.0.0`

// Options are the arguments of `umbel hub`.
type Options struct {
	*client.Factory
	// Listen are the addresses of the gateway, Port its port and Advertise what members dial; empty means as before.
	Listen    []string
	Port      int
	Advertise string
	// Registry is where content and images are kept; empty means in the hub.
	Registry string
	// Replica is which one of several replicas this hub is.
	Replica hub.Replica
	// LocalSources are the folders in which file:// repositories may be read.
	LocalSources []string
	// Authentication is the path of an AuthenticationConfiguration.
	Authentication string
	// CertificateLife is how long an agent's certificate is valid.
	CertificateLife time.Duration
	// MetricsRetention is how long metrics are kept, and MetricsSize what they may take on the disk, as a quantity of Kubernetes.
	MetricsRetention time.Duration
	MetricsSize      string
}

// NewCmd returns the command `umbel hub`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run a hub in the foreground",
		Long: "Run a hub in the foreground until it is interrupted. `umbel up` starts one in the background.\n\n" +
			"By default the hub brings its own etcd and API server; with --kubeconfig it runs on any Kubernetes, and with\n" +
			"--kubeconfig in-cluster on the one that it is a pod of. There it may run as several replicas: they share a registry,\n" +
			"one of them leads, and all of them serve agents and people.",
		Example:           examples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := o.complete()
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("authentication-config") {
				if options.Authentication, err = hub.Authentication(o.Authentication); err != nil {
					return exit.Usagef("--authentication-config: %w", err)
				}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			// The libraries' logs, which are the process's.
			ctrl.SetLogger(logr.FromSlogHandler(options.Log.Handler()))
			klog.SetSlogLogger(options.Log)
			return hub.Run(ctx, options)
		},
	}
	cmd.Flags().StringSliceVar(&o.Listen, "listen", []string{"127.0.0.1"}, "`ADDRESS` that agents and people reach the hub on; may be given several times")
	cmd.Flags().IntVar(&o.Port, "port", 0, "the `PORT` that they reach it on (default: as before, else a free one)")
	cmd.Flags().StringVar(&o.Advertise, "advertise", "", "what members dial, as `HOST` or HOST:PORT (default: as before, else 127.0.0.1)")
	cmd.Flags().StringVar(&o.Registry, "registry", "", "`URL` of a registry for content and images, with accounts from Docker's configuration (default: the hub's own)")
	cmd.Flags().StringVar(&o.Replica.Name, "replica", "", "the `NAME` of this replica, of several that share an API and a registry (default: the hub is one process)")
	cmd.Flags().StringVar(&o.Replica.Address, "replica-address", "", "where the other replicas reach this one, as `HOST` or HOST:PORT")
	cmd.Flags().StringArrayVar(&o.LocalSources, "allow-local-sources", nil,
		"`FOLDER` of this computer in which packages may have file:// repositories; may be given several times (default: none)")
	o.CertificateLife = gateway.DefaultCertificateTTL
	span.Var(cmd.Flags(), &o.CertificateLife, "member-certificate-life", "`DURATION` that an agent's certificate is valid; agents renew between a half and three quarters of it")
	o.MetricsRetention = store.DefaultRetention
	span.Var(cmd.Flags(), &o.MetricsRetention, "metrics-retention", "`DURATION` that what clusters measure is kept")
	cmd.Flags().StringVar(&o.MetricsSize, "metrics-size", "10Gi", "`BYTES` that it may take on the disk, beside the last hours'; the oldest goes first")
	cmd.Flags().StringVar(&o.Authentication, "authentication-config", "",
		"`FILE` with an AuthenticationConfiguration of Kubernetes: whose people may sign in (default: as before, else nobody's)")
	cmd.AddCommand(newImageCmd(f), newWorkerCmd())
	return cmd
}

func (o *Options) complete() (hub.Options, error) {
	options := hub.Options{
		Kubeconfig: o.Kubeconfig, Port: o.Port, Advertise: o.Advertise, RegistryURL: o.Registry, Replica: o.Replica,
		CertificateLife: o.CertificateLife, MetricsRetention: o.MetricsRetention, Log: slog.New(slog.NewTextHandler(o.Err, nil)),
	}
	for _, text := range o.Listen {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return options, exit.Usagef("--listen %q is not an IP address, such as 192.0.2.10", text)
		}
		options.Listen = append(options.Listen, address)
	}
	if err := o.checkAddresses(); err != nil {
		return options, err
	}
	for _, text := range o.LocalSources {
		folder, err := filepath.Abs(text)
		if err != nil {
			return options, exit.Usagef("--allow-local-sources %q: %w", text, err)
		}
		options.LocalSources = append(options.LocalSources, folder)
	}
	size, err := resource.ParseQuantity(o.MetricsSize)
	if err != nil || size.Value() <= 0 {
		return options, exit.Usagef("--metrics-size %q is no number of bytes, such as 10Gi", o.MetricsSize)
	}
	options.MetricsSize = size.Value()
	if o.MetricsRetention <= 0 {
		return options, exit.Usagef("--metrics-retention is %s: nothing would be kept", o.MetricsRetention)
	}
	if o.CertificateLife <= 0 {
		return options, exit.Usagef("--member-certificate-life is %s: no agent could use a certificate", o.CertificateLife)
	}
	if options.Programs, err = client.Programs(); err != nil {
		return options, err
	}
	options.Home, err = filepath.Abs(o.Home)
	return options, err
}

// checkAddresses says what is wrong with where the hub is to be reached.
func (o *Options) checkAddresses() error {
	if o.Advertise != "" {
		host, port, err := net.SplitHostPort(hub.WithPort(o.Advertise, 1))
		number, notNumber := strconv.ParseUint(port, 10, 16)
		_, notAddress := netip.ParseAddr(host)
		if err != nil || notNumber != nil || number == 0 || notAddress != nil && len(validation.IsDNS1123Subdomain(host)) > 0 {
			return exit.Usagef("--advertise %q is neither HOST nor HOST:PORT, such as hub.example.com:443 or 192.0.2.10", o.Advertise)
		}
	}
	if o.Port < 0 || o.Port > 65535 {
		return exit.Usagef("--port %d is not between 1 and 65535", o.Port)
	}
	if o.Replica == (hub.Replica{}) {
		return nil
	}
	if problems := validation.IsDNS1123Label(o.Replica.Name); len(problems) > 0 {
		return exit.Usagef("--replica %q: %s", o.Replica.Name, problems[0])
	}
	if o.Replica.Address == "" {
		return exit.Usagef("--replica needs --replica-address: the others reach members by it that are connected to this one")
	}
	if o.Kubeconfig == "" || o.Registry == "" {
		return exit.Usagef("--replica needs --kubeconfig and --registry: replicas share an API and a registry")
	}
	return nil
}
