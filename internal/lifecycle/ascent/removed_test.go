package ascent

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/kube/kubetest"
)

// TestARemovedAPIInUseBarsAnUpgrade: a real API server serves an API that the next minor does not, and counts who asks for it. Nobody has
// asked, and the way is free; somebody has, and it is not.
func TestARemovedAPIInUseBarsAnUpgrade(t *testing.T) {
	const from, within, next = "v1.36.4", "v1.36.9", "v1.37.0" // it is of 1.36, and knows what 1.37 does not serve
	api, err := kubetest.RunServing(t.Context(), "networking.k8s.io/v1beta1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Stop)
	hub, err := client.New(api.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := os.ReadFile(kubetest.Kubeconfig(t, api.Config))
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "dev-kubeconfig"}, Data: map[string][]byte{"value": kubeconfig}}
	if err := hub.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c := &controller{client: hub, metrics: func(ctx context.Context, cluster client.ObjectKey, planes int64) ([]string, error) {
		return AskAll(ctx, hub, cluster, planes)
	}}
	allowed := func(to string, removed v1alpha1.RemovedAPIs) error {
		return c.allowed(t.Context(), Ground{Cluster: grown(from, from)}, Climb{From: from, To: to, Planes: 1}, removed)
	}
	if err := allowed(next, v1alpha1.RemovedRefuse); err != nil {
		t.Errorf("before anybody asked for it: %v", err)
	}
	member, err := kubernetes.NewForConfig(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	var last error
	if _, err := member.NetworkingV1beta1().IPAddresses().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	const want = "in use are networking.k8s.io/v1beta1 ipaddresses, which Kubernetes 1.37 does not serve any more"
	// An API server counts a request when it has answered it.
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = allowed(next, v1alpha1.RemovedRefuse)
		return last != nil, nil
	})
	if err != nil || !strings.Contains(last.Error(), want) {
		t.Errorf("somebody asked for it: got %v, want %q", last, want)
	}
	for to, removed := range map[string]v1alpha1.RemovedAPIs{within: v1alpha1.RemovedRefuse, next: v1alpha1.RemovedIgnore} {
		if err := allowed(to, removed); err != nil {
			t.Errorf("to %s, %s: %v", to, removed, err)
		}
	}
}
