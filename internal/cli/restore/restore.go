// Package restore is `umbel restore`: it makes a hub of what `umbel backup` wrote, where there is none, and, with --finish,
// lets a hub that was restored prune again.
package restore

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/backup"
	cli "umbel.dev/umbel/internal/cli/backup"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/hub"
)

const examples = `  # what would it do?
  umbel restore hub.backup --dry-run

  # into the data folder of a new machine that has the address of the old one; then start the hub, as it was started there
  umbel restore hub.backup --identity key.txt
  umbel hub --listen 0.0.0.0

  # on an existing Kubernetes, before the hub is installed there
  umbel restore hub.backup --kubeconfig ~/.kube/config

  # all is as it should be: what this hub's placements do not select is pruned again
  umbel restore --finish`

// Options are the arguments of `umbel restore`.
type Options struct {
	*client.Factory
	// File is the backup; - is standard input.
	File string
	// Identity is the file with the key that decrypts it.
	Identity string
	// Address is what members dial from now on; empty: as before.
	Address string
	// DryRun says what would be done, Finish ends the time in which nothing is pruned.
	DryRun, Finish bool
}

// NewCmd returns the command `umbel restore`.
func NewCmd(f *client.Factory) *cobra.Command {
	o := &Options{Factory: f}
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a hub of a backup, where there is none",
		Long: "Make a hub of what `umbel backup` wrote, in an empty data folder, or with --kubeconfig on a Kubernetes that has none. It does\n" +
			"not start it. Interrupted at any time, it can be run again.\n\n" +
			"Be sure that the old hub does not run any more: agents are with the one that has the address. The restored hub delivers a\n" +
			"package when it has read its source again, and prunes none because of what its placements select until --finish.",
		Example: examples,
		Args:    exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.Finish && len(args) == 0:
				return o.OnHub(cmd.Context(), o.finish)
			case o.Finish || len(args) == 0:
				return exit.Usagef("`umbel restore` takes the FILE of a backup, or --finish")
			}
			o.File = args[0]
			return o.restore(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.Identity, "identity", "", "`FILE` with the key of age that decrypts the backup")
	cmd.Flags().StringVar(&o.Address, "address", "", "what members dial from now on, as `HOST` or HOST:PORT (default: as before)")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and do nothing")
	cmd.Flags().BoolVar(&o.Finish, "finish", false, "what the placements of this restored hub do not select is pruned again")
	return cmd
}

func (o *Options) restore(ctx context.Context) error {
	var archive *backup.Archive
	err := cli.Read(o.Factory, o.File, o.Identity, func(plain io.Reader) (err error) {
		archive, err = backup.Open(plain)
		return err
	})
	if err != nil {
		return err
	}
	options := hub.Options{Kubeconfig: o.Kubeconfig, Advertise: o.Address, Log: slog.New(slog.DiscardHandler)}
	if options.Home, err = filepath.Abs(o.Home); err != nil {
		return err
	}
	if options.Programs, err = client.Programs(); err != nil {
		return err
	}
	where := "on the Kubernetes of " + o.Kubeconfig
	if o.Kubeconfig == "" {
		where = "in " + hub.Dir(options.Home)
		if err := hub.CheckFolder(options.Home); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("the hub of %s %s: %s", archive.Time.Format("2006-01-02 15:04:05Z07:00"), where, cli.Contents(archive.Manifest))
	if o.DryRun {
		fmt.Fprintf(o.Out, "would restore %s\n", what)
		return nil
	}
	if err := hub.Restore(ctx, options, archive); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "restored %s\n", what)
	o.Note("Start it as the old one was started (`umbel up`, `umbel hub`). It prunes nothing by its placements until `umbel restore --finish`")
	return nil
}

// finish takes the annotation of a restore off every Package.
func (o *Options) finish(ctx context.Context, h *client.Hub) error {
	var packages v1alpha1.PackageList
	if err := h.List(ctx, &packages); err != nil {
		return err
	}
	finished := 0
	for i := range packages.Items {
		pkg := &packages.Items[i]
		if _, restored := pkg.Annotations[v1alpha1.RestoredAnnotation]; !restored {
			continue
		}
		before := pkg.DeepCopy()
		delete(pkg.Annotations, v1alpha1.RestoredAnnotation)
		if err := h.Patch(ctx, pkg, kube.MergeFrom(before)); kube.IgnoreNotFound(err) != nil {
			return err
		}
		finished++
	}
	fmt.Fprintf(o.Out, "%s pruned again where no placement selects %s\n", v1alpha1.Counted(finished, "package")+v1alpha1.Agreeing(finished, " is", " are"), v1alpha1.Agreeing(finished, "it", "them"))
	return nil
}
