package login

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/internal/cli/kubeconfig"
	"umbel.dev/umbel/internal/cli/route"
)

// contextName is the context of a hub in the person's kubeconfig.
func contextName(door route.Door) string { return "hub@" + door.Address }

// user is the credential in kubeconfigs: whoever needs a token asks `umbel credential`.
func (o *loginOptions) user(door route.Door) (*clientcmdapi.AuthInfo, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for umbel, which kubectl is to call: %w", err)
	}
	home, err := filepath.Abs(o.Home)
	if err != nil {
		return nil, err
	}
	user := clientcmdapi.NewAuthInfo()
	user.Exec = &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: self, InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		Args:        []string{"credential", "https://" + door.Address, "--home", home},
		InstallHint: "umbel has moved: `umbel login https://" + door.Address + "` writes down where it is",
	}
	return user, nil
}

// writeContexts writes the way to the hub's API into the data folder, for umbel, and into the person's kubeconfig.
func (o *loginOptions) writeContexts(door route.Door) error {
	user, err := o.user(door)
	if err != nil {
		return err
	}
	name, what := contextName(door), "created"
	err = kubeconfig.Edit(kubeconfigFile(o.File), func(config *clientcmdapi.Config) error {
		if old := config.Clusters[name]; old != nil && old.Server != door.Hub().Server {
			return fmt.Errorf("cluster %q is at %s: it is left alone; name another file with --output", name, old.Server)
		}
		if config.Contexts[name] != nil {
			what = "configured"
		}
		into(config, door, user)
		if config.CurrentContext == "" {
			config.CurrentContext = name
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Last: from here on umbel speaks to that hub.
	err = kubeconfig.Edit(o.SignedIn(), func(config *clientcmdapi.Config) error {
		*config = *clientcmdapi.NewConfig()
		into(config, door, user)
		config.CurrentContext = name
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "context/%s %s\n", name, what)
	return nil
}

// into puts the way to the hub's API into a kubeconfig.
func into(config *clientcmdapi.Config, door route.Door, user *clientcmdapi.AuthInfo) {
	name := contextName(door)
	context := clientcmdapi.NewContext()
	if old := config.Contexts[name]; old != nil {
		context.Namespace, context.Extensions = old.Namespace, old.Extensions // the person's
	}
	context.Cluster, context.AuthInfo = name, door.UserName()
	config.Clusters[name], config.AuthInfos[door.UserName()], config.Contexts[name] = door.Hub(), user, context
}

// outOf takes everything that leads behind the door out of a kubeconfig, and returns the contexts that went.
func outOf(config *clientcmdapi.Config, door route.Door) (gone []string) {
	behind := func(cluster *clientcmdapi.Cluster) bool {
		return cluster != nil && (cluster.Server == door.Hub().Server || strings.HasPrefix(cluster.Server, door.Members()))
	}
	for name, context := range config.Contexts {
		if behind(config.Clusters[context.Cluster]) && context.AuthInfo == door.UserName() {
			delete(config.Contexts, name)
			gone = append(gone, name)
		}
	}
	used := map[string]bool{}
	for _, context := range config.Contexts {
		used[context.Cluster] = true
	}
	for name, cluster := range config.Clusters {
		if behind(cluster) && !used[name] {
			delete(config.Clusters, name)
		}
	}
	delete(config.AuthInfos, door.UserName())
	if config.Contexts[config.CurrentContext] == nil {
		config.CurrentContext = ""
	}
	return gone
}

// signedInTo returns the hub that umbel speaks to since somebody signed in; nothing when nobody has.
func signedInTo(path string) (string, error) {
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return "", nil
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	cluster := config.Clusters[config.CurrentContext]
	if cluster == nil {
		return "", fmt.Errorf("reading %s: it names no hub; `umbel login` writes it anew", path)
	}
	return strings.TrimSuffix(cluster.Server, "/hub"), nil
}
