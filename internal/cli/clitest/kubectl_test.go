package clitest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
)

func TestKubectl(t *testing.T) {
	f := newFleet(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("TMPDIR", t.TempDir())
	expect := func(reason string, want said, args ...string) {
		t.Helper()
		if diff := cmp.Diff(want, f.run(t.Context(), append([]string{"kubectl"}, args...)...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	expect("no kubectl anywhere", said{
		Err:  "error: there is no kubectl: neither " + filepath.Join(filepath.Dir(self), "umbel-kube") + " nor kubectl in PATH; `make build` makes the first\n",
		Code: 1,
	}, "prod-eu", "get", "pods")
	script := "#!/bin/sh\nread -r line\necho \"$@\" / \"$line\"\nwhile read -r l; do case \"$l\" in server:*|namespace:*) echo \"$l\";; esac; done < \"$KUBECONFIG\"\nexit 7\n"
	if err := os.WriteFile(filepath.Join(bin, "kubectl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	expect("no such cluster", said{Err: "error: there is no cluster \"nope\": `umbel get clusters` lists them\n", Code: 1}, "nope", "get", "pods")
	expect("a cluster that does not answer", said{
		Err: "error: cluster \"prod-us\" is not connected: the agent has not answered a probe since 11:56 (ProbeTimeout); it was last seen 4m ago; " +
			"`umbel describe cluster prod-us` says what to do\n",
		Code: 1,
	}, "prod-us", "--", "get", "pods")
	expect("a hub that has not said where it is", said{
		Err: "error: the hub has not said yet where it is reached (ConfigMap umbel-system/hub-info): it has not finished starting\n", Code: 1,
	}, "prod-eu", "get", "pods")
	f.create(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1alpha1.SystemNamespace, Name: "hub-info"},
		Data:       map[string]string{"address": "127.0.0.1:7443", "ca": "PEM"},
	})
	ran := said{Out: "delete role pod-reader -n shop / some input\nserver: https://127.0.0.1:7443/clusters/prod-eu\n", Code: 7}
	expect("arguments, input and exit code pass through", ran, "prod-eu", "--", "delete", "role", "pod-reader", "-n", "shop")
	expect("without -- as well", ran, "prod-eu", "delete", "role", "pod-reader", "-n", "shop")
	nameless := said{Err: "error: name the cluster that kubectl is to work on, before --: `umbel kubectl --help` shows examples\n", Code: 2}
	expect("no cluster", nameless)
	expect("kubectl's arguments alone", nameless, "--", "get", "pods")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("kubectl left %v behind", left)
	}
}
