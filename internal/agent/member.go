package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"umbel.dev/umbel/api/v1alpha1"
)

// memberAPI is the member's API server, as far as the agent itself asks of it.
type memberAPI struct {
	client *kubernetes.Clientset
}

func newMemberAPI(config *rest.Config) (*memberAPI, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the client of the member's API server: %w", err)
	}
	return &memberAPI{client}, nil
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

// uninstall takes away what joining installed, this agent included, and what the agent kept on disk. The Namespace owns
// everything else.
func (m *memberAPI) uninstall(ctx context.Context, o Options) error {
	for _, name := range []string{"packages", "identity"} {
		if err := os.RemoveAll(filepath.Join(o.Dir, name)); err != nil {
			return fmt.Errorf("deleting the agent's state: %w", err)
		}
	}
	err := m.client.CoreV1().Namespaces().Delete(ctx, v1alpha1.AgentNamespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting namespace %s: %w", v1alpha1.AgentNamespace, err)
	}
	o.Log.Info("the member has left the fleet, and the agent with it")
	return nil
}
