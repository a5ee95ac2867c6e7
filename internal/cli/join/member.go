package join

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/google/renameio/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/deploy"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/identity"
)

// member is the cluster that joins, reached with the caller's own credentials.
type member struct {
	kube.Client
	server string
}

func openMember(kubeconfig, kubeContext string) (*member, error) {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: kubeContext}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the cluster's kubeconfig %s: %w", kubeconfig, err)
	}
	config.Timeout = 30 * time.Second
	c, err := kube.New(config, kube.Options{})
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster at %s (kubeconfig %s): %w", config.Host, kubeconfig, err)
	}
	return &member{c, config.Host}, nil
}

// Manifests returns what is installed on a member, in the order in which it is applied. Without an image there is no
// Deployment.
func Manifests(boot v1alpha1.Bootstrap, image string) ([]*unstructured.Unstructured, error) {
	raw, err := json.Marshal(boot)
	if err != nil {
		return nil, err
	}
	quote := func(v any) (string, error) {
		quoted, err := json.Marshal(v)
		return string(quoted), err
	}
	tmpl, err := template.New("agent.yaml").Funcs(template.FuncMap{"json": quote}).Parse(deploy.Agent)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := tmpl.Execute(&text, map[string]string{
		"AdminGroup": v1alpha1.AdminGroup, "Bootstrap": string(raw), "BootstrapSum": identity.HashToken(string(raw)), "Image": image,
	}); err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(&text, 4096); ; {
		o := &unstructured.Unstructured{}
		if err := decoder.Decode(&o.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading deploy/agent.yaml: %w", err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

func (m *member) install(ctx context.Context, boot v1alpha1.Bootstrap, image string) error {
	objects, err := Manifests(boot, image)
	if err != nil {
		return err
	}
	var owner *metav1.OwnerReference
	for _, o := range objects {
		if owner != nil && o.GetNamespace() == "" {
			o.SetOwnerReferences([]metav1.OwnerReference{*owner})
		}
		err := m.Apply(ctx, kube.ApplyConfigurationFromUnstructured(o), kube.FieldOwner("umbel-join"), kube.ForceOwnership)
		if apierrors.IsForbidden(err) {
			return fmt.Errorf("installing the agent on %s needs the rights of a cluster administrator: %w", m.server, err)
		}
		if err != nil {
			return fmt.Errorf("installing %s %s on %s: %w", o.GetKind(), o.GetName(), m.server, err)
		}
		if o.GetKind() == "Namespace" {
			if owner, err = m.namespace(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// namespace returns the agent's Namespace as an owner.
func (m *member) namespace(ctx context.Context) (*metav1.OwnerReference, error) {
	var ns corev1.Namespace
	if err := m.Get(ctx, kube.ObjectKey{Name: v1alpha1.AgentNamespace}, &ns); err != nil {
		return nil, fmt.Errorf("reading namespace %s of %s: %w", v1alpha1.AgentNamespace, m.server, err)
	}
	if !ns.DeletionTimestamp.IsZero() {
		return nil, fmt.Errorf("namespace %s of %s is still being deleted, since the cluster left a fleet: try again in a moment", ns.Name, m.server)
	}
	return &metav1.OwnerReference{APIVersion: "v1", Kind: "Namespace", Name: ns.Name, UID: ns.UID}, nil
}

// why says what the agent's pod is stuck at, or otherwise when nothing is known of it.
func (m *member) why(ctx context.Context, otherwise string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var pods corev1.PodList
	err := m.List(ctx, &pods, kube.InNamespace(v1alpha1.AgentNamespace), kube.MatchingLabels{"app.kubernetes.io/name": "umbel-agent"})
	if err != nil {
		return fmt.Sprintf("%s; its pod cannot be read: %v", otherwise, err)
	}
	if len(pods.Items) == 0 {
		return otherwise + "; it has no pod: does the cluster have a controller manager and nodes?"
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil {
				return fmt.Sprintf("its pod waits: %s %s", w.Reason, w.Message)
			}
		}
		for _, c := range pod.Status.Conditions {
			if c.Status != corev1.ConditionTrue && c.Message != "" {
				return fmt.Sprintf("its pod is not %s: %s", c.Type, c.Message)
			}
		}
	}
	return otherwise + fmt.Sprintf("; `kubectl logs -n %s deploy/umbel-agent` on the cluster says more", v1alpha1.AgentNamespace)
}

// writeProcess writes what an agent needs that runs as a process, and its command: a local cluster without nodes runs
// what it finds there.
func writeProcess(dir, kubeconfig string, boot v1alpha1.Bootstrap) error {
	raw, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	access, err := os.ReadFile(kubeconfig)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, "kubeconfig"), access, 0o600); err != nil {
		return err
	}
	if err := renameio.WriteFile(BootstrapFile(dir), raw, 0o600); err != nil {
		return err
	}
	programs, err := client.Programs()
	if err != nil {
		return err
	}
	command, err := json.Marshal(map[string][]string{"args": {
		filepath.Join(programs, "umbel-agent"), "--dir=" + dir, "--bootstrap=" + BootstrapFile(dir), "--kubeconfig=" + filepath.Join(dir, "kubeconfig"),
	}})
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, "command.json"), command, 0o600)
}
