// Package hub is `umbel hub`: it runs a hub in the foreground.
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

  # on an existing Kubernetes cluster
  umbel hub --kubeconfig ~/.kube/config --advertise 192.0.2.10 --listen 0.0.0.0`

// NewCmd returns the command `umbel hub`.
func NewCmd(f *client.Factory) *cobra.Command {
	var listen []string
	var advertise string
	certificateLife := 24 * time.Hour
	cmd := &cobra.Command{
		Use:   "hub",
		Short: "Run a hub in the foreground",
		Long: "Run a hub in the foreground until it is interrupted. `umbel up` starts one in the background.\n\n" +
			"By default the hub brings its own etcd and API server; with --kubeconfig it runs on any Kubernetes.",
		Example: examples,
		Args:    exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			addresses, err := parse(listen)
			if err != nil {
				return err
			}
			var reach netip.Addr
			if advertise != "" {
				if reach, err = netip.ParseAddr(advertise); err != nil {
					return exit.Usagef("--advertise: %w", err)
				}
			}
			programs, err := client.Programs()
			if err != nil {
				return err
			}
			home, err := filepath.Abs(f.Home)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			return hub.Run(ctx, hub.Options{
				Home: home, Kubeconfig: f.Kubeconfig, Listen: addresses, Advertise: reach, Programs: programs,
				CertificateLife: certificateLife, Log: slog.New(slog.NewTextHandler(f.Err, nil)),
			})
		},
	}
	cmd.Flags().StringSliceVar(&listen, "listen", []string{"127.0.0.1"}, "addresses that agents and people reach the hub on")
	cmd.Flags().StringVar(&advertise, "advertise", "", "the one of them that members dial (default: as before, else 127.0.0.1)")
	cmd.Flags().DurationVar(&certificateLife, "member-certificate-life", certificateLife, "how long an agent's certificate is valid; agents renew at two thirds of it")
	return cmd
}

func parse(addresses []string) ([]netip.Addr, error) {
	var parsed []netip.Addr
	for _, a := range addresses {
		addr, err := netip.ParseAddr(a)
		if err != nil {
			return nil, exit.Usagef("--listen: %w", err)
		}
		parsed = append(parsed, addr)
	}
	return parsed, nil
}
