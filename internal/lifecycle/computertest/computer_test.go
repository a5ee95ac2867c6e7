//go:build aws

package computertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// initial is user data as Cluster API's provider of kubeadm writes it, for the first machine of a control plane.
const initial = `## template: jinja
#cloud-config

write_files:
-   path: /run/kubeadm/kubeadm.yaml
    owner: root:root
    permissions: '0640'
    content: |
      ---
      apiVersion: kubeadm.k8s.io/v1beta4
      kind: ClusterConfiguration
      kubernetesVersion: v1.36.4
      ---
      apiVersion: kubeadm.k8s.io/v1beta4
      kind: InitConfiguration
      nodeRegistration:
        name: '{{ ds.meta_data.local_hostname }}'
        criSocket: unix:///run/containerd/containerd.sock
runcmd:
  - 'kubeadm init --config /run/kubeadm/kubeadm.yaml  && mkdir -p /run/cluster-api && echo success > /run/cluster-api/bootstrap-success.complete'
`

// TestAComputerBootsByItsUserData has kubeadm begin a cluster on one computer, which is a node of it that is Ready, and known as its cloud knows it.
func TestAComputerBootsByItsUserData(t *testing.T) {
	c := New(t, t.TempDir())
	address, err := c.Boot(t.Context(), Computer{Name: "first", ProviderID: "aws:///us-east-1a/i-1", UserData: initial})
	if err != nil {
		t.Fatal(err)
	}
	begun, said := time.Now(), ""
	for range time.Tick(500 * time.Millisecond) {
		out, err := exec.Command(c.kube, "kubectl", "--kubeconfig", c.copyOf(t, "first", "/etc/kubernetes/super-admin.conf"), "get", "nodes", "-o",
			`jsonpath={.items[*].metadata.name} {.items[*].spec.providerID} {.items[*].status.conditions[?(@.type=="Ready")].status}`).CombinedOutput()
		if said = string(out); err == nil && said == "first aws:///us-east-1a/i-1 True" {
			break
		}
		if time.Since(begun) > 4*time.Minute {
			t.Fatalf("at %s: %v: %s", address, err, said)
		}
	}
	t.Logf("the node is Ready after %s", time.Since(begun).Round(100*time.Millisecond))
	if err := c.End(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if left := c.Booted(); len(left) > 0 {
		t.Errorf("there are %v", left)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "first")); !os.IsNotExist(err) {
		t.Errorf("its folder is there (%v)", err)
	}
}

// copyOf copies a file out of a computer.
func (c *Computers) copyOf(t *testing.T, name, path string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), strings.ReplaceAll(path, "/", "_"))
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", c.booted[name].command.Process.Pid, path))
	if err == nil {
		err = os.WriteFile(to, raw, 0o600)
	}
	if err != nil {
		return "/none"
	}
	return to
}
