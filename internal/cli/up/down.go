package up

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// NewDownCmd returns the command `umbel down`.
func NewDownCmd(f *client.Factory) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take away everything that `umbel up` made",
		Long: "End the hub and the local clusters of the data folder and delete all that they are made of: processes, network\n" +
			"namespaces, bridge, mounts, and the data folder's content, the example repository and its commits included. Snapshots of clusters stay\n" +
			"that are kept in its folder backups.",
		Example:           "  umbel down",
		Args:              exit.Takes(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.Here(cmd); err != nil {
				return err
			}
			view := progress.On(f.Streams, f.Now)
			defer view.Close()
			return down(cmd.Context(), f, view)
		},
	}
}

func down(ctx context.Context, f *client.Factory, view *progress.View) error {
	home, err := filepath.Abs(f.Home)
	if err != nil {
		return err
	}
	if _, err := os.Stat(home); errors.Is(err, fs.ErrNotExist) {
		f.Note("nothing is up in %s", home)
		return nil
	}
	programs, err := client.Programs()
	if err != nil {
		return err
	}
	clusters, err := local.New(local.Needs{Home: home, Binaries: local.BinariesIn(programs)})
	if err != nil {
		return err
	}
	if err := view.Run("hub ended", func(*progress.Step) error { return hub.Stop(ctx, home) }); err != nil {
		return err
	}
	list, err := clusters.List(ctx)
	if err != nil {
		return err
	}
	var group errgroup.Group
	for _, c := range list {
		group.Go(func() error {
			return view.Run(fmt.Sprintf("%s deleted", c.Name), func(*progress.Step) error { return clusters.Delete(ctx, c.Name) })
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := clusters.Cleanup(); err != nil {
		return err
	}
	for _, name := range []string{"hub", "local", "fleet"} {
		if err := os.RemoveAll(filepath.Join(home, name)); err != nil {
			return err
		}
	}
	_ = os.Remove(home) // only when it is empty: other files in it are not ours
	if kept := clusters.BackupFolder(""); isThere(kept) {
		f.Note("%s stays, with snapshots of clusters", kept)
	}
	return nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
