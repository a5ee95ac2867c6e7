//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/test/rig"
)

// balanced is a Service of type LoadBalancer with a pod on each of two nodes. CoreDNS is the one program that every node has and that
// answers by HTTP. Only a node with a pod of its own may announce the address, so that one that is lost takes no requests along.
const balanced = `
apiVersion: v1
kind: ConfigMap
metadata: {namespace: default, name: answers}
data:
  Corefile: |
    .:1053 {
        health :8080
    }
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: default, name: answers}
spec:
  replicas: 2
  selector: {matchLabels: {app: answers}}
  template:
    metadata: {labels: {app: answers}}
    spec:
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: answers}}}]
      containers:
      - name: answers
        image: registry.umbel.dev/coredns:v1
        imagePullPolicy: Never
        args: [-conf, /etc/coredns/Corefile]
        readinessProbe: {httpGet: {path: /health, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: config, mountPath: /etc/coredns}]
      volumes: [{name: config, configMap: {name: answers}}]
---
apiVersion: v1
kind: Service
metadata: {namespace: default, name: answers}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {app: answers}
  ports: [{port: 80, targetPort: 8080}]
`

// balances makes a Service of type LoadBalancer, and returns the URL at which it answers outside of the cluster.
func (s *story) balances(cluster string) string {
	s.Helper()
	file := filepath.Join(s.TempDir(), "balanced.yaml")
	if err := os.WriteFile(file, []byte(balanced), 0o600); err != nil {
		s.Fatal(err)
	}
	begun := time.Now()
	s.umbel("kubectl", cluster, "--", "apply", "-f", file)
	url := ""
	s.eventually("the Service has an address", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "service", "answers", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		if err == nil && out == "" {
			err = errors.New("it has none")
		}
		url = "http://" + out + "/health"
		return err
	})
	s.Logf("a Service had the address %s after %s", url, time.Since(begun).Round(100*time.Millisecond))
	s.eventually("it answers", func(ctx context.Context) error { return answers(ctx, url) })
	s.umbel("kubectl", cluster, "--", "rollout", "status", "deployment/answers", "--timeout=180s")
	s.Logf("it answered on both nodes after %s", time.Since(begun).Round(100*time.Millisecond))
	return url
}

// answers asks a URL once, over a connection of its own.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || string(body) != "OK") {
		err = fmt.Errorf("it answers %s: %s", response.Status, body)
	}
	return err
}

// announcer returns the machine that announces the address of the Service.
func (s *story) announcer(cluster string) local.Machine {
	s.Helper()
	var found local.Machine
	s.eventually("a node announces the address", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "servicel2statuses", "-n", "metallb-system", "-o", `jsonpath={.items[?(@.status.serviceName=="answers")].status.node}`)
		if err != nil {
			return err
		}
		machines := s.cluster(cluster).Machines
		i := slices.IndexFunc(machines, func(m local.Machine) bool { return m.Node == strings.TrimSpace(out) })
		if i < 0 {
			return fmt.Errorf("it is said to be %q", out)
		}
		found = machines[i]
		return nil
	})
	return found
}

// dies ends a machine with all that it had, and returns when the URL answers again, from another one.
func (s *story) dies(m local.Machine, url string) {
	s.Helper()
	s.eventually("it answers before its machine dies", func(ctx context.Context) error { return answers(ctx, url) })
	begun := time.Now()
	if err := syscall.Kill(m.PID, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	gone := filepath.Join(s.TempDir(), "gone")
	if err := os.Rename(m.Dir, gone); err != nil { // in one step: whoever heals it begins meanwhile
		s.Fatal(err)
	}
	s.eventually("its folder is gone", func(context.Context) error { return os.RemoveAll(gone) }) // what ends may write still
	if err := rig.Eventually(s.ctx, patience, func(ctx context.Context) error { return answers(ctx, url) }); err != nil {
		s.Fatalf("the machine that announced %s died: %v", url, err)
	}
	s.Logf("the machine that announced %s died, and another one answered after %s", url, time.Since(begun).Round(100*time.Millisecond))
}
