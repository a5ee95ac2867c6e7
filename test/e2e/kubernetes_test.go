//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/test/rig"
)

// TestAClusterIsUpgraded is a cluster's way from a Kubernetes to the next: what would not do is refused, the control plane goes first, a
// pool of machines after it, another one last; and while all this happens somebody asks a Service, over and over, and is answered
// each time, since its pods have a PodDisruptionBudget. Somebody writes to its API, which is away for a moment and loses nothing. While its last
// pool is upgraded a Rollout brings another cluster there, and the hub dies in the middle of both.
func TestAClusterIsUpgraded(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := tell(t, &rig.Fleet{Home: t.TempDir(), Log: t.Output(), Programs: withTheMinorBefore(t)})
	s.umbel("up", "--cluster", "edge", "--example=none")
	page := runbook(t, "clusters.md")
	s.shell(line(page, "provider add local"))
	s.eventually("the class is there, with both versions", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "provider", "list", "-o", "wide")
		if err == nil && !strings.Contains(out, "v1.35.4,v1.36.4") {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
	prod := make(chan error, 1)
	go func() {
		_, err := s.Umbel(s.ctx, "cluster", "create", "prod", "--version", "1.35", "--workers", "1", "--labels", "env=prod")
		prod <- err
	}()
	s.umbel("cluster", "create", "dev", "--version", "1.35", "--workers", "2")
	s.onHub(`patch cluster.cluster.x-k8s.io dev -n default --type=json -p '[{"op":"add","path":"/spec/topology/workers/machineDeployments/-","value":{"class":"worker","name":"callers","replicas":1}}]'`)
	was := s.nodes("dev", 3)
	caller := s.callersMachine()
	ask := s.service(caller)
	before := s.member("dev")

	s.refused([]string{"cluster", "upgrade", "dev", "--version", "1.37"}, "is not to be had", "v1.35.4, v1.36.4")
	s.refused([]string{"cluster", "upgrade", "dev", "--version", "1.36", "--pool", "workers"}, "never newer than its API server", "--control-plane-only")
	s.umbel("kubectl", "dev", "--", "get", "componentstatuses")
	planned := s.shell(line(page, "cluster upgrade dev --version 1.36 --dry-run") + " 2>&1")
	for _, word := range []string{"v1 componentstatuses, which is deprecated", "control plane: v1.35.4 → v1.36.4", "pool workers: v1.35.4 → v1.36.4", "pool callers: v1.35.4"} {
		if !strings.Contains(planned, word) {
			t.Errorf("the plan does not say %q:\n%s", word, planned)
		}
	}

	step := func(what, containing string) {
		t.Helper()
		begun := time.Now()
		s.shell(line(page, containing))
		t.Logf("%s in %s", what, time.Since(begun).Round(100*time.Millisecond))
	}
	ended := s.writes("dev")
	step("the control plane", "--control-plane-only")
	s.eventually("its API is the new one", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", "dev", "--", "version")
		if err == nil && !strings.Contains(out, "Server Version: v1.36.4") {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
	ended()
	if now := s.nodes("dev", 3); !equalNodes(was, now) {
		t.Errorf("the nodes were %v, and are %v, though the control plane alone was upgraded", was, now)
	}
	step("a pool of two machines", "--pool workers")
	if now := s.nodes("dev", 3); now[caller] != "v1.35.4" || count(now, "v1.36.4") != 2 {
		t.Errorf("when one pool is upgraded the nodes are %v", now)
	}
	answered, failed := ask()
	t.Logf("a client was answered %d times", answered)
	if answered == 0 || len(failed) > 0 {
		t.Errorf("it failed %d times:\n%s", len(failed), strings.Join(failed[:min(5, len(failed))], "\n"))
	}
	if err := <-prod; err != nil {
		t.Fatal(err)
	}
	arrived := s.byAWave("prod")
	begun := time.Now()
	s.hubDies("dev", "umbel cluster upgrade dev")
	t.Logf("the last pool, of one machine, in %s, though the hub died meanwhile", time.Since(begun).Round(100*time.Millisecond))
	arrived()
	if now := s.nodes("dev", 3); count(now, "v1.36.4") != 3 {
		t.Errorf("at last the nodes are %v", now)
	}
	after := s.member("dev")
	if after.UID != before.UID {
		t.Errorf("the fleet had it as %s, and has it as %s", before.UID, after.UID)
	}
	s.memberSays("dev", v1alpha1.ConditionConnected, metav1.ConditionTrue)
	s.refused([]string{"cluster", "upgrade", "dev", "--version", "1.35"}, "does not go back")
	s.umbel("cluster", "delete", "dev", "--yes")
}

// byAWave has a Rollout bring the clusters of production to the next version: this one. The function that is returned waits for that.
func (s *story) byAWave(cluster string) (arrived func()) {
	s.Helper()
	was, before := s.nodes(cluster, 1), s.member(cluster)
	begun := time.Now()
	if out := s.umbel("cluster", "upgrade", "--clusters", "env=prod", "--version", "1.36"); !strings.Contains(out, "it brings 1 cluster to Kubernetes v1.36.4") {
		s.Errorf("the Rollout says %s", out)
	}
	return func() {
		s.Helper()
		s.umbel("rollout", "status", "rollout/kubernetes-v1.36.4", "--watch")
		s.Logf("a cluster with a machine, by a wave, in %s", time.Since(begun).Round(100*time.Millisecond))
		now, after := s.nodes(cluster, 1), s.member(cluster)
		if count(was, "v1.35.4") != 1 || count(now, "v1.36.4") != 1 {
			s.Errorf("its nodes were %v, and are %v", was, now)
		}
		if out := s.umbel("kubectl", cluster, "--", "version"); !strings.Contains(out, "Server Version: v1.36.4") {
			s.Errorf("its API says %s", out)
		}
		if after.UID != before.UID {
			s.Errorf("the fleet had it as %s, and has it as %s", before.UID, after.UID)
		}
		s.memberSays(cluster, v1alpha1.ConditionConnected, metav1.ConditionTrue)
	}
}

// withTheMinorBefore returns a folder of our programs with the Kubernetes of the minor before, which `make kube-before` builds in ten
// minutes. Where it was not built this minor's stands in for it and says that it is that one: all of the story is true but that an older
// Kubernetes wrote what the newer one reads.
func withTheMinorBefore(t *testing.T) string {
	t.Helper()
	const name = "umbel-kube-1.35"
	built := filepath.Dir(rig.Binary("umbel"))
	if _, err := os.Stat(filepath.Join(built, name)); err == nil {
		return built
	}
	programs := copied(t, "umbel", "umbel-agent", "umbel-kube", "umbel-coredns", "umbel-pause", "umbel-capi")
	const stamp = "-X k8s.io/component-base/version."
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w "+stamp+"gitVersion=v1.35.4 "+stamp+"gitMajor=1 "+stamp+"gitMinor=35", "-o", filepath.Join(programs, name), ".")
	cmd.Dir, cmd.Env = filepath.Join(rig.Root(), "kube", "v1.36"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v: %s", name, err, out)
	}
	t.Log("this minor's Kubernetes stands in for the one before: `make kube-before` builds that")
	return programs
}

// nodes returns which version each node of a cluster is of, once there are so many and all are Ready.
func (s *story) nodes(cluster string, number int) map[string]string {
	s.Helper()
	var versions map[string]string
	s.eventually(fmt.Sprintf("%d nodes of %s are Ready", number, cluster), func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "nodes", "--no-headers")
		if err != nil {
			return err
		}
		versions = map[string]string{}
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) == 5 && fields[1] == "Ready" {
				versions[fields[0]] = fields[4]
			}
		}
		if len(versions) != number || strings.Count(out, "\n") != number {
			return fmt.Errorf("they are\n%s", out)
		}
		return nil
	})
	return versions
}

func equalNodes(a, b map[string]string) bool {
	same := len(a) == len(b)
	for name, version := range a {
		same = same && b[name] == version
	}
	return same
}

func count(nodes map[string]string, version string) int {
	n := 0
	for _, v := range nodes {
		if v == version {
			n++
		}
	}
	return n
}

// callersMachine returns the node of the pool of callers, and keeps pods off it.
func (s *story) callersMachine() string {
	s.Helper()
	name := strings.TrimSpace(s.shell(hubKubectl + `get machines.cluster.x-k8s.io -n default -l topology.cluster.x-k8s.io/deployment-name=callers -o 'jsonpath={.items[0].metadata.name}'`))
	s.umbel("kubectl", "dev", "--", "taint", "nodes", name, "callers=only:NoSchedule")
	return name
}

// service runs two pods behind a Service, and a client that asks it from a node until the function that is returned is called: that
// returns how often it was answered, and what went wrong.
func (s *story) service(node string) func() (answered int, failed []string) {
	s.Helper()
	file := filepath.Join(s.TempDir(), "web.yaml")
	if err := os.WriteFile(file, []byte(web), 0o600); err != nil {
		s.Fatal(err)
	}
	s.umbel("kubectl", "dev", "--", "apply", "-f", file)
	s.umbel("kubectl", "dev", "--", "rollout", "status", "deployment/web", "--timeout=180s")
	address := s.umbel("kubectl", "dev", "--", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	client := &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: s.from(node)}}
	get := func() error {
		answer, err := client.Get("http://" + address + "/health")
		if err == nil {
			err = answer.Body.Close()
		}
		if err == nil && answer.StatusCode != http.StatusOK {
			err = fmt.Errorf("it answers %s", answer.Status)
		}
		return err
	}
	s.eventually("the Service answers", func(context.Context) error { return get() })

	ctx, stop := context.WithCancel(s.ctx)
	answered, failed := 0, []string(nil)
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := get(); err != nil {
				failed = append(failed, time.Now().Format(time.TimeOnly)+" "+err.Error())
			} else {
				answered++
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	s.Cleanup(stop)
	return func() (int, []string) {
		stop()
		asking.Wait()
		return answered, failed
	}
}

// from dials as a program on a node would.
func (s *story) from(node string) func(ctx context.Context, kind, address string) (net.Conn, error) {
	s.Helper()
	var all []local.Cluster
	if err := json.Unmarshal([]byte(s.umbel("local", "list", "-o", "json")), &all); err != nil {
		s.Fatal(err)
	}
	for _, c := range all {
		for _, m := range c.Machines {
			if m.Node != node {
				continue
			}
			return func(ctx context.Context, kind, address string) (conn net.Conn, err error) {
				err = network.Within(filepath.Join("/run/netns", m.Namespace), func() error {
					conn, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, kind, address)
					return err
				})
				return conn, err
			}
		}
	}
	s.Fatalf("no machine has the node %s", node)
	return nil
}

// web serves on two nodes where it can, never on none, and for a while after its end is near: so long kube-proxy may take to hear of it.
const web = `apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {Corefile: ".:1053 {\n  health :8080\n}\n"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}]
      containers:
      - name: web
        image: registry.umbel.dev/coredns:v1
        imagePullPolicy: Never
        args: [-conf, /etc/web/Corefile]
        readinessProbe: {httpGet: {path: /health, port: 8080}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 10}}}
        volumeMounts: [{name: web, mountPath: /etc/web, readOnly: true}]
      volumes: [{name: web, configMap: {name: web}}]
`
