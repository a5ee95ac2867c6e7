package kubectl

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"umbel.dev/umbel/api/v1alpha1"
)

// route is the way to a member through the hub.
type route struct {
	cluster v1alpha1.ClusterName
	server  string // URL
	ca      []byte // PEM
}

// routeTo reads the way to a member from what the hub says of itself.
func routeTo(cluster v1alpha1.ClusterName, info *corev1.ConfigMap) (route, error) {
	for _, key := range []string{v1alpha1.HubInfoAddress, v1alpha1.HubInfoCA} {
		if info.Data[key] == "" {
			return route{}, fmt.Errorf("ConfigMap %s/%s: data.%s is missing: the hub writes it when it starts", info.Namespace, info.Name, key)
		}
	}
	return route{
		cluster: cluster,
		server:  fmt.Sprintf("https://%s/clusters/%s", info.Data[v1alpha1.HubInfoAddress], cluster),
		ca:      []byte(info.Data[v1alpha1.HubInfoCA]),
	}, nil
}

// kubeconfigFor returns a kubeconfig for a member, with the credentials of the hub's.
func kubeconfigFor(hub *clientcmdapi.Config, to route) *clientcmdapi.Config {
	name := string(to.cluster)
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: to.server, CertificateAuthorityData: to.ca}
	user := hub.AuthInfos[hub.Contexts[hub.CurrentContext].AuthInfo]
	if user == nil {
		user = clientcmdapi.NewAuthInfo()
	}
	config.AuthInfos["hub"] = user.DeepCopy()
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: "hub"}
	config.CurrentContext = name
	return config
}
