package kubeconfig

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/route"
)

// What happened to a context.
const (
	created    = "created"
	configured = "configured"
	unchanged  = "unchanged"
	removed    = "removed"
)

// change is what happened to one context.
type change struct{ context, what string }

// fleet is what is merged into a kubeconfig.
type fleet struct {
	door route.Door
	// user is who the person is for the hub, and so for its members.
	user *clientcmdapi.AuthInfo
	// clusters get contexts.
	clusters []v1alpha1.ClusterName
	// prefix stands before the names of contexts.
	prefix string
}

// userName is the name of the one user that all contexts of a hub have.
func (f fleet) userName() string { return f.door.UserName() }

// merge writes the contexts into config, sorted. After an error config is not to be used.
func (f fleet) merge(config *clientcmdapi.Config) ([]change, error) {
	var changes []change
	sameUser := reflect.DeepEqual(content(config.AuthInfos[f.userName()]), content(f.user))
	for _, cluster := range slices.Sorted(slices.Values(f.clusters)) {
		name := f.prefix + string(cluster)
		if err := f.free(config, name); err != nil {
			return nil, err
		}
		to, context := f.door.To(cluster), &clientcmdapi.Context{Cluster: name, AuthInfo: f.userName()}
		what := created
		if old := config.Contexts[name]; old != nil {
			what = configured
			context.Namespace, context.Extensions = old.Namespace, old.Extensions // the person's
			if sameUser && old.AuthInfo == context.AuthInfo && leads(config.Clusters[name], to) {
				what = unchanged
			}
		}
		config.Clusters[name], config.Contexts[name] = to, context
		changes = append(changes, change{name, what})
	}
	if len(f.clusters) > 0 {
		config.AuthInfos[f.userName()] = f.user
	}
	if config.CurrentContext == "" && len(changes) == 1 {
		config.CurrentContext = changes[0].context
	}
	return changes, nil
}

// content is a user without the file that it was read from.
func content(user *clientcmdapi.AuthInfo) *clientcmdapi.AuthInfo {
	if user == nil {
		return nil
	}
	user = user.DeepCopy()
	user.LocationOfOrigin = ""
	if len(user.Extensions) == 0 {
		user.Extensions = nil
	}
	return user
}

func leads(cluster, to *clientcmdapi.Cluster) bool {
	return cluster != nil && cluster.Server == to.Server && cluster.TLSServerName == to.TLSServerName && string(cluster.CertificateAuthorityData) == string(to.CertificateAuthorityData)
}

// free says whether the name of a context, and that of its cluster, can be ours.
func (f fleet) free(config *clientcmdapi.Config, name string) error {
	if context := config.Contexts[name]; context != nil && !f.ours(config, context.Cluster) {
		return fmt.Errorf("context %q leads elsewhere (cluster %q): it is left alone; choose other names with --prefix", name, context.Cluster)
	}
	if config.Clusters[name] != nil && !f.ours(config, name) {
		return fmt.Errorf("cluster %q is at %s: it is left alone; choose other names with --prefix", name, config.Clusters[name].Server)
	}
	return nil
}

// ours says whether a cluster of the kubeconfig is a member of this hub, or was one.
func (f fleet) ours(config *clientcmdapi.Config, cluster string) bool {
	entry := config.Clusters[cluster]
	return entry != nil && strings.HasPrefix(entry.Server, f.door.Members())
}

// prune takes out of config what leads to members of this hub that are not among those that it has, and the user when
// nothing is left that needs it.
func (f fleet) prune(config *clientcmdapi.Config, has []v1alpha1.ClusterName) []change {
	var changes []change
	for _, name := range slices.Sorted(maps.Keys(config.Contexts)) {
		if f.left(config, config.Contexts[name].Cluster, has) {
			delete(config.Contexts, name)
			changes = append(changes, change{name, removed})
		}
	}
	for name := range config.Clusters {
		if f.left(config, name, has) {
			delete(config.Clusters, name)
		}
	}
	if config.Contexts[config.CurrentContext] == nil && slices.Contains(changes, change{config.CurrentContext, removed}) {
		config.CurrentContext = ""
	}
	for _, context := range config.Contexts {
		if context.AuthInfo == f.userName() {
			return changes
		}
	}
	delete(config.AuthInfos, f.userName())
	return changes
}

func (f fleet) left(config *clientcmdapi.Config, cluster string, has []v1alpha1.ClusterName) bool {
	if !f.ours(config, cluster) {
		return false
	}
	member := strings.TrimPrefix(config.Clusters[cluster].Server, f.door.Members())
	return !slices.Contains(has, v1alpha1.ClusterName(member))
}
