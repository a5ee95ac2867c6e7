//go:build e2e

package e2e

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"umbel.dev/umbel/test/rig"
)

// metricsAPI is an API behind the cluster's, at its node's address. Its certificate is of its own, as where people install a metrics server by
// the manifest that it has.
const metricsAPI = `apiVersion: v1
kind: Service
metadata: {name: metrics-server, namespace: kube-system}
spec:
  ports: [{name: https, port: 443, targetPort: 4443}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: metrics-server, namespace: kube-system, labels: {kubernetes.io/service-name: metrics-server}}
addressType: IPv4
ports: [{name: https, port: 4443}]
endpoints: [{addresses: [ADDRESS]}]
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec:
  service: {name: metrics-server, namespace: kube-system}
  group: metrics.k8s.io
  version: v1beta1
  insecureSkipTLSVerify: true
  groupPriorityMinimum: 100
  versionPriority: 100
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics-reader}
rules:
- {apiGroups: [metrics.k8s.io], resources: [pods, nodes], verbs: [get, list, watch]}
`

// measures gives a cluster a metrics server, which asks its kubelets every ten seconds: a process beside those of its main machine, until this part of the
// story ends.
func (s *story) measures(cluster string) {
	s.Helper()
	of := s.cluster(cluster)
	server, err := url.Parse(of.Server)
	if err != nil {
		s.Fatal(err)
	}
	dir := s.TempDir()
	file := filepath.Join(dir, "metrics.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(metricsAPI, "ADDRESS", server.Hostname())), 0o600); err != nil {
		s.Fatal(err)
	}
	kubectl := rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + of.Kubeconfig
	s.shell(kubectl + " apply -f " + file)
	flags := []string{"--kubelet-insecure-tls", "--kubelet-preferred-address-types=InternalIP", "--kubelet-request-timeout=5s", "--metric-resolution=10s", "--secure-port=4443", "--cert-dir=" + dir}
	for _, flag := range []string{"kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"} {
		flags = append(flags, "--"+flag+"="+of.Kubeconfig)
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", of.Namespace, rig.Binary("umbel-metrics-server")}, flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err == nil {
		cmd.Stdout, cmd.Stderr = log, log
		err = cmd.Start()
	}
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		// First, and whole: with an API that does not answer no namespace can end, and no plan is whole.
		if out, err := s.Shell(context.WithoutCancel(s.ctx), kubectl+" delete -f "+file); err != nil {
			s.Errorf("%v\n%s", err, out)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if raw, err := os.ReadFile(log.Name()); err == nil && s.Failed() {
			s.Logf("the metrics server says:\n%.4000s", raw)
		}
	})
}
