package provider

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/local"
	"umbel.dev/umbel/internal/lifecycle/ascent"
	"umbel.dev/umbel/internal/lifecycle/autoscale"
	"umbel.dev/umbel/internal/lifecycle/enrol"
	"umbel.dev/umbel/internal/lifecycle/hosted"
	machines "umbel.dev/umbel/internal/lifecycle/local"
)

// newServeCmd returns the hidden command that is the process of the Provider local. The hub starts it.
func newServeCmd(f *client.Factory) *cobra.Command {
	var health string
	cmd := &cobra.Command{
		Use:    "serve",
		Short:  "Make the clusters of this machine that Cluster API asks for; the hub starts it",
		Hidden: true,
		Args:   exit.Takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			clusters, err := local.Open(f)
			if err != nil {
				return err
			}
			versions, err := clusters.Versions(cmd.Context())
			if err != nil {
				return err
			}
			machine, err := machines.MachineCapacity()
			if err != nil {
				return err
			}
			config, err := clientcmd.BuildConfigFromFlags("", f.Kubeconfig)
			if err != nil {
				return fmt.Errorf("reading how the hub's API is reached: %w", err)
			}
			config.QPS = -1 // the API server's priority and fairness decides
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
			m, err := hosted.NewManager(hosted.Needs{
				Config: config, Health: health, Host: clusters, Versions: versions, Machine: machine, Now: time.Now,
				Log: log,
			})
			if err != nil {
				return err
			}
			auditLog := func(name string) enrol.AuditLog { return enrol.AuditLog(clusters.AuditLog(name)) }
			if err := errors.Join(enrol.Setup(m, time.Now, auditLog), autoscale.Setup(m, time.Now), ascent.Setup(m, nil)); err != nil {
				return err
			}
			return m.Start(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&health, "health-addr", "", "`HOST:PORT` on which it says whether it is at work")
	return cmd
}
