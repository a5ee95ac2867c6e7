package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/internal/cli/exit"
	"umbel.dev/umbel/internal/cli/output"
	"umbel.dev/umbel/internal/hub/known"
)

// The variables of the environment that stand for flags.
const (
	homeVariable       = "UMBEL_HOME"
	kubeconfigVariable = "UMBEL_KUBECONFIG"
)

// Environment is what people read of the variables.
const Environment = `Environment:
  UMBEL_HOME        the data folder, where --home does not name one
  UMBEL_KUBECONFIG  the kubeconfig of the hub, where --kubeconfig does not
  BROWSER           the program that opens addresses for umbel login
  NO_COLOR          when it is set to anything, nothing is coloured`

// Factory holds what every command needs.
type Factory struct {
	output.Streams
	// Home is the data folder: $UMBEL_HOME, else ~/.umbel.
	Home string
	// Kubeconfig is where the hub's kubeconfig is, from --kubeconfig or $UMBEL_KUBECONFIG. Empty means that of the hub that
	// somebody has signed in to, else of the hub in the data folder.
	Kubeconfig string
	// Namespace is what namespaced objects are looked for in. The default is "default".
	Namespace string
	// Now is the clock.
	Now func() time.Time
	// Through is how the hub's door is reached by somebody whom it knows already, in place of a kubeconfig: its Host is the door's URL, and
	// its Transport says who asks. The hub's own console has one; commands have none.
	Through *rest.Config
}

// New returns a Factory with the defaults of the environment.
func New(streams output.Streams) *Factory {
	home := os.Getenv(homeVariable)
	if home == "" {
		if user, err := os.UserHomeDir(); err == nil {
			home = filepath.Join(user, ".umbel")
		}
	}
	return &Factory{
		Streams:    streams,
		Home:       home,
		Kubeconfig: os.Getenv(kubeconfigVariable),
		Namespace:  "default",
		Now:        time.Now,
	}
}

// AddFlags adds the flags that every command knows: those of the root command.
func (f *Factory) AddFlags(flags *pflag.FlagSet) {
	flags.StringVar(&f.Home, "home", f.Home, "data `FOLDER` ($"+homeVariable+")")
	flags.StringVar(&f.Kubeconfig, "kubeconfig", f.Kubeconfig,
		"`FILE` with the kubeconfig of the hub ($"+kubeconfigVariable+"; default: the hub that `umbel login` signed in to, else the one in the data folder)")
}

// AddNamespaceFlag adds -n to a command that works with namespaced objects.
func (f *Factory) AddNamespaceFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.Namespace, "namespace", "n", f.Namespace, "`NAMESPACE` of the objects")
	// It fails for a flag that does not exist only.
	_ = cmd.RegisterFlagCompletionFunc("namespace", f.completeNamespaces)
}

// Here checks that a command that works on this computer alone was not given another hub.
func (f *Factory) Here(cmd *cobra.Command) error {
	if flag := cmd.Flags().Lookup("kubeconfig"); flag != nil && flag.Changed {
		return exit.Usagef("`%s` works on the data folder of this computer: --kubeconfig has no say in it, --home names another folder", cmd.CommandPath())
	}
	return nil
}

// HubKubeconfig returns the path of the hub's kubeconfig, or an error that says how to name one.
func (f *Factory) HubKubeconfig() (string, error) {
	if f.Kubeconfig != "" {
		return f.Kubeconfig, nil
	}
	if f.Home == "" {
		return "", fmt.Errorf("no hub: there is no home directory; name a data folder with --home, or a hub with --kubeconfig")
	}
	if signedIn := f.SignedIn(); exists(signedIn) {
		return signedIn, nil
	}
	path := known.AdminKubeconfig(f.Home)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("no hub: run `umbel up`, sign in with `umbel login`, or name one with --kubeconfig (looked for %s)", path)
	case err != nil:
		return "", fmt.Errorf("no hub: %w", err)
	}
	return path, nil
}

// SignedIn is the path of the kubeconfig that `umbel login` writes and `umbel logout` removes.
func (f *Factory) SignedIn() string { return filepath.Join(f.Home, "signed-in.kubeconfig") }

// exists says whether something is at path, be it unreadable: whoever reads it says why.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// LoadKubeconfig reads the hub's kubeconfig. Paths in it are absolute.
func (f *Factory) LoadKubeconfig() (*clientcmdapi.Config, error) {
	path, err := f.HubKubeconfig()
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no kubeconfig at %s: it is named by --kubeconfig or $%s", path, kubeconfigVariable)
	}
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	if _, ok := config.Contexts[config.CurrentContext]; !ok {
		return nil, fmt.Errorf("kubeconfig %s: current-context %q is not one of its contexts", path, config.CurrentContext)
	}
	return config, nil
}
