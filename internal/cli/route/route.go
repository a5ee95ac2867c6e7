// Package route answers: by which way does somebody reach a member that nothing can dial?
//
//  1. Whoever has signed in came to the hub's API through its door already: that door it is. To others the hub says where
//     people reach it (ConfigMap umbel-system/hub-info).
//  2. A member is at https://ADDRESS/clusters/NAME behind it, with the credentials of the hub's kubeconfig; and at every path of the door for
//     who asks TLS for the member by name, as `kubectl proxy` does, which forgets the path.
//
// The person stays who they are: the hub asks for nobody's rights but theirs, and so does the member. No credential of
// a member is in a kubeconfig from here: there is none that the hub could give.
//
// `umbel kubectl`, `umbel kubeconfig` and `umbel get --clusters` go this way. It writes no file.
package route

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/view"
)

// Door is where the hub lets people through to its members.
type Door struct {
	// Address is HOST:PORT.
	Address string
	// CA is what it is known by, PEM. Empty means by the computer's own authorities.
	CA []byte
	// Named says that the names of members lead to the door.
	Named bool
}

// ownAPI is where the hub's own API is behind its door.
const ownAPI = "/hub"

// Find returns the hub's door: the one that config comes in by, or else the one that the hub names.
func Find(ctx context.Context, hub kube.Reader, config *rest.Config) (Door, error) {
	if door, came := doorIn(config); came {
		return door, nil
	}
	var info corev1.ConfigMap
	err := hub.Get(ctx, kube.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: v1alpha1.HubInfoConfigMap}, &info)
	if apierrors.IsNotFound(err) {
		return Door{}, fmt.Errorf("the hub has not said yet where it is reached (ConfigMap %s/%s): it has not finished starting", v1alpha1.SystemNamespace, v1alpha1.HubInfoConfigMap)
	}
	if err != nil {
		return Door{}, fmt.Errorf("asking where the hub is reached: %w", err)
	}
	return doorOf(&info)
}

// doorIn returns the door that config comes in by, if it does.
func doorIn(config *rest.Config) (Door, bool) {
	at, err := url.Parse(config.Host)
	if err != nil || at.Scheme != "https" || at.Path != ownAPI {
		return Door{}, false
	}
	return Door{Address: at.Host, CA: config.CAData}, true
}

func doorOf(info *corev1.ConfigMap) (Door, error) {
	for _, key := range []string{v1alpha1.HubInfoAddress, v1alpha1.HubInfoCA} {
		if info.Data[key] == "" {
			return Door{}, fmt.Errorf("ConfigMap %s/%s: data.%s is missing: the hub writes it when it starts", info.Namespace, info.Name, key)
		}
	}
	return Door{Address: info.Data[v1alpha1.HubInfoAddress], CA: []byte(info.Data[v1alpha1.HubInfoCA])}, nil
}

// Members is what the URL of every member behind the door begins with.
func (d Door) Members() string { return "https://" + d.Address + "/clusters/" }

// Hub returns how a kubeconfig names the way to the hub's own API.
func (d Door) Hub() *clientcmdapi.Cluster {
	return &clientcmdapi.Cluster{Server: "https://" + d.Address + ownAPI, CertificateAuthorityData: d.CA}
}

// UserName is the name in a kubeconfig of whoever goes through the door.
func (d Door) UserName() string { return "umbel@" + d.Address }

// To returns how a kubeconfig names the way to a member.
func (d Door) To(cluster v1alpha1.ClusterName) *clientcmdapi.Cluster {
	to := &clientcmdapi.Cluster{Server: d.Members() + string(cluster), CertificateAuthorityData: d.CA}
	if d.Named {
		to.TLSServerName = cluster.ServerName()
	}
	return to
}

// Knock finds out, within seconds, whether the names of members lead to the door, and returns the door that knows. They do not where
// something on the way goes by the name of the server or ends TLS itself, and where the hub is of a version that does not know them.
func (d Door) Knock(ctx context.Context, hub *clientcmdapi.Config) Door {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d.Named = d.knows(ctx, hub) == nil
	return d
}

func (d Door) knows(ctx context.Context, hub *clientcmdapi.Config) error {
	web, url, err := d.web(hub, v1alpha1.MembersDomain)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := web.Do(request)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// User returns the credentials of a hub's kubeconfig, in a copy.
func User(hub *clientcmdapi.Config) *clientcmdapi.AuthInfo {
	user := hub.AuthInfos[hub.Contexts[hub.CurrentContext].AuthInfo]
	if user == nil {
		return clientcmdapi.NewAuthInfo()
	}
	return user.DeepCopy()
}

// Kubeconfig returns a kubeconfig for one member, with the credentials of the hub's.
func (d Door) Kubeconfig(hub *clientcmdapi.Config, cluster v1alpha1.ClusterName) *clientcmdapi.Config {
	name := string(cluster)
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = d.To(cluster)
	config.AuthInfos["hub"] = User(hub)
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: "hub"}
	config.CurrentContext = name
	return config
}

// Web returns how the door itself is asked, with the credentials of the hub's kubeconfig, and its URL, without a path.
func (d Door) Web(hub *clientcmdapi.Config) (web *http.Client, url string, err error) {
	return d.web(hub, "")
}

// web is Web for a door that is asked for by another name than that of its address, unless that is empty.
func (d Door) web(hub *clientcmdapi.Config, serverName string) (web *http.Client, url string, err error) {
	kubeconfig := d.Kubeconfig(hub, "door")
	kubeconfig.Clusters["door"].Server, kubeconfig.Clusters["door"].TLSServerName = "https://"+d.Address, serverName
	config, err := clientcmd.NewDefaultClientConfig(*kubeconfig, nil).ClientConfig()
	if err != nil {
		return nil, "", err
	}
	config.UserAgent = "umbel"
	web, err = rest.HTTPClientFor(config)
	return web, config.Host, err
}

// AgentIsThere says whether the agent of a cluster answers. Its API server may not have answered it in time.
func AgentIsThere(cluster *v1alpha1.MemberCluster) bool {
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == v1alpha1.ReasonAPIUnreachable)
}

// Open returns an error with the age of the last sign of life when nobody would answer for the cluster. When it is the
// hub that is not heard of, the request finds out; so it does where the agent is there, whose API server has not answered it in
// time: it may have been slow for once.
func Open(moment view.Moment, cluster *v1alpha1.MemberCluster) error {
	if AgentIsThere(cluster) {
		return nil
	}
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionConnected)
	why := "nobody has heard of its agent yet"
	if c != nil {
		why = fmt.Sprintf("%s (%s)", cmp.Or(c.Message, "no more is known"), c.Reason)
	}
	if ago := moment.LastSeen(cluster).Text; ago != "" {
		why += "; it was last seen " + ago
	}
	return fmt.Errorf("cluster %q is not connected: %s; `umbel describe cluster %s` says what to do", cluster.Name, why, cluster.Name)
}
