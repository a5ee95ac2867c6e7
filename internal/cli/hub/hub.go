// Package hub is `umbel hub`: it runs a hub in the foreground. `umbel hub image` writes the image of its agent to a file.
package hub

import (
	"log/slog"
	"net/netip"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/hub"
)

const examples = `  # a hub with an API of its own, for this computer
  umbel hub

  # reachable by members on another address too
  umbel hub --listen 127.0.0.1 --listen 192.0.2.10 --advertise 192.0.2.10

  # with packages whose repositories are on this computer's disk, such as file:///srv/git/fleet.git
  umbel hub --allow-local-sources /srv/git

  # on an existing Kubernetes cluster
  umbel hub --kubeconfig ~/.kube/config --advertise 192.0.2.10 --listen 0.0.0.0`

// Options are the arguments of `umbel hub`.
type Options struct {
	*client.Factory
	// Listen are the addresses of the gateway, Advertise the one of them that members dial; empty means as before.
	Listen    []string
	Advertise string
	// LocalSources are the folders in which file:// repositories may be read.
	LocalSources []string
	// CertificateLife is how long an agent's certificate is valid.
	CertificateLife time.Duration
}

// NewCmd returns the command `umbel hub`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run a hub in the foreground",
		Long: "Run a hub in the foreground until it is interrupted. `umbel up` starts one in the background.\n\n" +
			"By default the hub brings its own etcd and API server; with --kubeconfig it runs on any Kubernetes.",
		Example:           examples,
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := o.complete()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			return hub.Run(ctx, options)
		},
	}
	cmd.Flags().StringSliceVar(&o.Listen, "listen", []string{"127.0.0.1"}, "`ADDRESS` that agents and people reach the hub on; may be given several times")
	cmd.Flags().StringVar(&o.Advertise, "advertise", "", "the `ADDRESS` of them that members dial (default: as before, else 127.0.0.1)")
	cmd.Flags().StringArrayVar(&o.LocalSources, "allow-local-sources", nil,
		"`FOLDER` of this computer in which packages may have file:// repositories; may be given several times (default: none)")
	cmd.Flags().DurationVar(&o.CertificateLife, "member-certificate-life", 24*time.Hour, "`DURATION` that an agent's certificate is valid; agents renew at two thirds of it")
	cmd.AddCommand(newImageCmd(f))
	return cmd
}

func (o *Options) complete() (hub.Options, error) {
	options := hub.Options{
		Kubeconfig: o.Kubeconfig, CertificateLife: o.CertificateLife, Log: slog.New(slog.NewTextHandler(o.Err, nil)),
	}
	for _, text := range o.Listen {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return options, exit.Usagef("--listen %q is not an IP address, such as 192.0.2.10", text)
		}
		options.Listen = append(options.Listen, address)
	}
	if o.Advertise != "" {
		var err error
		if options.Advertise, err = netip.ParseAddr(o.Advertise); err != nil {
			return options, exit.Usagef("--advertise %q is not an IP address, such as 192.0.2.10", o.Advertise)
		}
	}
	for _, text := range o.LocalSources {
		folder, err := filepath.Abs(text)
		if err != nil {
			return options, exit.Usagef("--allow-local-sources %q: %w", text, err)
		}
		options.LocalSources = append(options.LocalSources, folder)
	}
	if o.CertificateLife <= 0 {
		return options, exit.Usagef("--member-certificate-life is %s: no agent could use a certificate", o.CertificateLife)
	}
	var err error
	if options.Programs, err = client.Programs(); err != nil {
		return options, err
	}
	options.Home, err = filepath.Abs(o.Home)
	return options, err
}
