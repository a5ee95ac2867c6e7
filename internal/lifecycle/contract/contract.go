// Package contract reads what Cluster API and all of its providers have agreed on, for whoever works beside them.
package contract

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Config reads the kubeconfig that every provider of a control plane keeps of a Cluster, in the Secret NAME-kubeconfig, and the version of
// that Secret. While there is none its error is that of the API (apierrors.IsNotFound). What is in the Secret is in no error.
func Config(ctx context.Context, reader client.Reader, cluster client.ObjectKey) (config *rest.Config, version string, err error) {
	secret := &corev1.Secret{}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: cluster.Namespace, Name: cluster.Name + "-kubeconfig"}, secret); err != nil {
		return nil, "", err
	}
	if config, err = clientcmd.RESTConfigFromKubeConfig(secret.Data["value"]); err != nil {
		return nil, "", fmt.Errorf("the kubeconfig in Secret %s cannot be read", secret.Name)
	}
	return config, secret.ResourceVersion, nil
}

// Taints reads the taints of a machine (spec.taints), which its node has too.
func Taints(all []any) []corev1.Taint {
	var taints []corev1.Taint
	for _, one := range all {
		t, _ := one.(map[string]any)
		key, _ := t["key"].(string)
		value, _ := t["value"].(string)
		effect, _ := t["effect"].(string)
		taints = append(taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	return taints
}
