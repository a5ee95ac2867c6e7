package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/identity"
)

// memberAPI is the member's API server, as far as the agent itself asks of it.
type memberAPI struct {
	client *kubernetes.Clientset
	// uid tells this cluster from others; empty before it was asked for.
	uid string
}

func newMemberAPI(config *rest.Config) (*memberAPI, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the member's API server: %w", err)
	}
	return &memberAPI{client: client}, nil
}

// check asks the API server whether it is ready, and returns its version.
func (m *memberAPI) check(ctx context.Context) (string, error) {
	if err := m.client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error(); err != nil {
		return "", fmt.Errorf("asking the API server whether it is ready: %w", err)
	}
	version, err := m.client.Discovery().ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking the API server for its version: %w", err)
	}
	return version.GitVersion, nil
}

// bootstrapSecret is where `umbel join` puts the bootstrap on the member (deploy/agent.yaml).
const bootstrapSecret = "umbel-agent-bootstrap"

// installed returns the bootstrap that `umbel join` installed last, or nil when there is none.
func (m *memberAPI) installed(ctx context.Context) (*v1alpha1.Bootstrap, error) {
	secret, err := m.client.CoreV1().Secrets(v1alpha1.AgentNamespace).Get(ctx, bootstrapSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: %w", v1alpha1.AgentNamespace, bootstrapSecret, err)
	}
	var boot v1alpha1.Bootstrap
	if err := json.Unmarshal(secret.Data["bootstrap.json"], &boot); err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: bootstrap.json: %w", v1alpha1.AgentNamespace, bootstrapSecret, err)
	}
	return &boot, nil
}

// uninstall takes away what joining installed, this agent included. The Namespace owns all of it.
func (m *memberAPI) uninstall(ctx context.Context) error {
	err := m.client.CoreV1().Namespaces().Delete(ctx, v1alpha1.AgentNamespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", v1alpha1.AgentNamespace, err)
	}
	return nil
}

// selfName returns the name of a cluster whose bootstrap gives it none, as with one manifest for many clusters. It blocks
// until the API server answers, or ctx ends.
func (m *memberAPI) selfName(ctx context.Context, boot v1alpha1.Bootstrap, log *slog.Logger) (v1alpha1.ClusterName, error) {
	token, fleet := identity.FleetTokenName(boot.Token)
	if !fleet {
		return "", errors.New("the bootstrap names no cluster, which it need not with a token of `umbel token create` only; run `umbel join` again")
	}
	if m.uid == "" {
		err := insist(ctx, log, "reading what tells this cluster from others", func(ctx context.Context) error {
			namespace, err := m.client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
			if err == nil {
				m.uid = string(namespace.UID)
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return v1alpha1.SelfName(token, m.uid), nil
}

// deleteKey deletes the Secret of an agent's papers.
func (m *memberAPI) deleteKey(ctx context.Context) error {
	err := m.client.CoreV1().Secrets(v1alpha1.AgentNamespace).Delete(ctx, identity.MemberSecret, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting secret %s/%s: %w", v1alpha1.AgentNamespace, identity.MemberSecret, err)
	}
	return nil
}
