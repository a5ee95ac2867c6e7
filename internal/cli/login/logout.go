package login

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/kubeconfig"
	"umbel.dev/umbel/internal/cli/login/session"
	"umbel.dev/umbel/internal/cli/route"
)

const logoutExamples = `  # forget who you are for the hub that umbel speaks to
  umbel logout

  # and for another
  umbel logout https://hub.example.com:7443`

// logoutOptions are the arguments of `umbel logout`.
type logoutOptions struct {
	*client.Factory
	// Hub is https://HOST:PORT; empty is the one that umbel speaks to.
	Hub string
	// File is the kubeconfig that has the contexts; empty is the one that `kubectl config` writes.
	File string
}

// NewLogoutCmd returns the command `umbel logout`.
func NewLogoutCmd(f *client.Factory) *cobra.Command {
	o := &logoutOptions{Factory: f}
	cmd := &cobra.Command{
		Use:   "logout [HUB]",
		Short: "Forget a sign-in, its tokens and its contexts",
		Long: "Remove what `umbel login` keeps on this computer: the tokens, and the contexts that lead to the hub and through it.\n\n" +
			"The session at the identity provider goes on; end it there.",
		Example:           logoutExamples,
		ValidArgsFunction: cobra.NoFileCompletions,
		Args:              exit.Args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := f.Here(cmd); err != nil {
				return err
			}
			if len(args) > 0 {
				if o.Hub, err = parseHub(args[0]); err != nil {
					return err
				}
			}
			return o.run()
		},
	}
	cmd.Flags().StringVarP(&o.File, "output", "o", "", "kubeconfig `FILE` that the contexts are taken out of (default: that of kubectl config: $KUBECONFIG or ~/.kube/config)")
	return cmd
}

func (o *logoutOptions) run() error {
	current, err := signedInTo(o.SignedIn())
	if err != nil && o.Hub == "" {
		return err
	}
	if o.Hub == "" {
		o.Hub = current
	}
	if o.Hub == "" {
		return errors.New("nobody is signed in")
	}
	if o.Hub == current {
		if err := remove(o.SignedIn()); err != nil {
			return fmt.Errorf("forgetting which hub umbel speaks to: %w", err)
		}
	}
	if err := session.In(o.Home, o.Now).Forget(o.Hub); err != nil {
		return err
	}
	gone, err := o.takeOut(route.Door{Address: strings.TrimPrefix(o.Hub, "https://")})
	if err != nil {
		return err
	}
	for _, name := range gone {
		fmt.Fprintf(o.Out, "context/%s removed\n", name)
	}
	o.Note("Signed out of %s", o.Hub)
	return nil
}

func (o *logoutOptions) takeOut(door route.Door) (gone []string, err error) {
	file := kubeconfigFile(o.File)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	err = kubeconfig.Edit(file, func(config *clientcmdapi.Config) error {
		gone = outOf(config, door)
		return nil
	})
	slices.Sort(gone)
	return gone, err
}
