package kubetest_test

import (
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"umbel.dev/umbel/internal/kube/kubetest"
)

func TestMain(m *testing.M) { os.Exit(kubetest.Main(m)) }

func TestServesUmbelKinds(t *testing.T) {
	config := kubetest.Start(t)
	kubetest.InstallCRDs(t, config)
	kubetest.InstallCRDs(t, config) // a second test of the same process does so again

	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	packages := client.Resource(schema.GroupVersionResource{Group: "umbel.dev", Version: "v1alpha1", Resource: "packages"})
	if _, err := packages.Namespace(kubetest.Namespace(t, config)).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("listing packages: %v", err)
	}
}

func TestReportsItsVersion(t *testing.T) {
	client, err := discovery.NewDiscoveryClientForConfig(kubetest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	version, err := client.ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	if version.Major != "1" || version.GitVersion == "" {
		t.Errorf("got version %+v, want one that is stamped", version)
	}
}
