//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/test/rig"
)

// TestClustersByClusterAPI is the runbook docs/operate/clusters.md: the hub makes a cluster on its own machine, by its ClusterClass;
// it joins, a pod runs on it, it comes back from a power cut with its data, it grows, it goes back to a snapshot and is copied; it keeps Cluster API's
// contract, is adopted, and observed for a while; and when it is deleted nothing of it is left. In the middle of making it the provider dies, and
// the hub.
func TestClustersByClusterAPI(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "clusters.md")
	run := func(containing string) string {
		t.Helper()
		for _, command := range page {
			if strings.Contains(command, containing) {
				return s.shell(command)
			}
		}
		t.Fatalf("no command of docs/operate/clusters.md has %q in it", containing)
		return ""
	}
	if _, err := s.Umbel(t.Context(), "cluster", "create", "dev"); err == nil || !strings.Contains(err.Error(), "umbel provider add local") {
		t.Errorf("without a provider: got %v", err)
	}
	run("provider add local")
	s.eventually("the class is there", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "cluster", "create", "dev", "--dry-run")
		if err == nil && !strings.Contains(out, "kind: Cluster") {
			err = fmt.Errorf("it says %s", out)
		}
		return err
	})
	for name, want := range map[string]string{
		"edge": "attached to the fleet", "dev --class nope": "there are local", "dev --version 1.34": "is not to be had", "dev --pods=10.9.9.9/16": "is no network",
		"dev --load-balancer-pool=10.9.9.9/28": "no IPv4 network",
	} {
		if _, err := s.Umbel(t.Context(), append([]string{"cluster", "create"}, strings.Fields(name)...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cluster create %s: got %v, want %q", name, err, want)
		}
	}

	if err := s.manifest(followsItsLabels); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := s.Shell(t.Context(), line(page, "cluster create dev"))
		made <- err
	}()
	// Each file is a step of the create; after each its provider is killed, and once the hub with it. (internal/lifecycle/hosted does so after
	// each write to the API.)
	for _, file := range []string{"cluster.json", "machine.json", "kube/etcd/member/wal/*.wal", "machines/*/machine.json"} {
		s.eventually(file+" is there", func(context.Context) error {
			found, err := filepath.Glob(filepath.Join(s.Home, "local", "dev", file))
			if err == nil && len(found) == 0 {
				err = errors.New("it is not")
			}
			return err
		})
		if file == "machine.json" {
			s.restartHub()
		} else {
			s.killProvider()
		}
	}
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Logf("made in %s, though its provider was killed three times meanwhile, and the hub once", time.Since(begun).Round(100*time.Millisecond))
	s.eventually("the tree of the cluster has a member that is connected", func(ctx context.Context) error { // its API server may have been late with its last answer
		out, err := s.Shell(ctx, line(page, "cluster describe dev"))
		if err == nil && (!strings.Contains(out, "MemberCluster dev") || !strings.Contains(out, "Connected")) {
			err = fmt.Errorf("it is\n%s", out)
		}
		return err
	})
	if out := s.umbel("get", "clusters", "-o", "wide"); strings.Count(out, "managed") != 1 || strings.Count(out, "attached") != 1 || !strings.Contains(out, "env=dev") {
		t.Errorf("which is which?\n%s", out)
	}
	s.keepsItsRange("dev")
	begun = time.Now()
	s.holds("dev", "default", "follows", "labels", "env=dev")
	t.Logf("what its labels ask for was there %s after it was made", time.Since(begun).Round(100*time.Millisecond))
	s.onHub("delete package/follows placement/follows")
	s.runsAPod("dev", "before")
	s.powerCut("dev")
	s.runsAPod("dev", "after")
	s.umbel("kubectl", "dev", "--", "get", "pod/before")
	s.hubDies("dev", line(page, "cluster scale dev"))
	s.nodes("dev", 2)
	s.losesMachine("dev", s.balances("dev"))
	s.goesBack("dev", page)
	s.losesMembers("dev", page)

	run("cluster pool add dev big")
	nodes := func(want int, of ...string) {
		t.Helper()
		s.eventually(fmt.Sprintf("%d nodes are Ready", want), func(ctx context.Context) error {
			out, err := s.Umbel(ctx, append([]string{"kubectl", "dev", "--", "get", "nodes", "--no-headers"}, of...)...)
			if err == nil && strings.Count(out, " Ready ") != want {
				err = fmt.Errorf("they are\n%s", out)
			}
			return err
		})
	}
	nodes(1, "-l", "node.cluster.x-k8s.io/size=big")
	if out := run("cluster pool list dev"); !strings.Contains(out, "size=big") || !strings.Contains(out, "workers") || !strings.Contains(out, "size=big:NoSchedule") {
		t.Errorf("its pools are\n%s", out)
	}
	if out := s.umbel("kubectl", "dev", "--", "get", "nodes", "-l", "node.cluster.x-k8s.io/size=big", "-o", "jsonpath={.items[*].spec.taints}"); !strings.Contains(out, `"effect":"NoSchedule","key":"size","value":"big"`) {
		t.Errorf("the taints of its nodes are %s", out)
	}
	s.followsPods("dev", nodes)
	run("cluster pool delete dev big")
	s.keepsTheContract("dev")
	s.isAdopted("dev")
	s.isObserved("dev")
	run("cluster protect dev")
	for _, command := range []string{"umbel cluster delete dev --yes", rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + hub.AdminKubeconfig(s.Home) + " delete cluster dev"} {
		if out, err := s.Shell(t.Context(), command); err == nil || !strings.Contains(out+err.Error(), "umbel cluster unprotect dev -n default") {
			t.Errorf("while it is protected, %s: got %s, %v", command, out, err)
		}
	}
	run("cluster unprotect dev")
	s.saysWhatDies("dev")
	begun = time.Now()
	s.hubDies("dev", line(page, "cluster delete dev"))
	t.Logf("ended, though the hub died meanwhile, in %s", time.Since(begun).Round(100*time.Millisecond))
	s.nothingLeft()
	s.keepsSnapshots("dev")
	run("provider remove local")
}

// followsItsLabels is what clusters of development get, before there is one.
const followsItsLabels = `apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata: {name: follows, namespace: default}
spec: {clusterSelector: {matchLabels: {env: dev}}}
---
apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: follows, namespace: default}
spec:
  placementRef: {name: follows}
  source:
    inline:
      objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: follows, namespace: default}, data: {labels: env=dev}}
`

func line(page []string, containing string) string {
	for _, command := range page {
		if strings.Contains(command, containing) {
			return command
		}
	}
	return "false"
}

// keepsItsRange has another cluster ask for the addresses that one has.
func (s *story) keepsItsRange(cluster string) {
	s.Helper()
	pods := strings.TrimSpace(s.shell(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" get hostedclusters -o jsonpath='{.items[0].status.pods}'`))
	_, err := s.Umbel(s.ctx, "cluster", "create", "other", "--pods", pods)
	if err == nil || !strings.Contains(err.Error(), "overlaps "+pods) || !strings.Contains(err.Error(), cluster) {
		s.Errorf("another cluster with the pods %q of %s: got %v", pods, cluster, err)
	}
}

// saysWhatDies asks for a deletion and agrees to nothing: what would die is read from the hub and from the cluster itself, and it all stays.
func (s *story) saysWhatDies(cluster string) {
	s.Helper()
	nodes := strings.Fields(s.umbel("kubectl", cluster, "--", "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
	s.eventually("what would die is said before a deletion", func(ctx context.Context) error { // of a cluster that is late it is said that it is not known
		_, err := s.Umbel(ctx, "cluster", "delete", cluster)
		if err == nil || len(nodes) == 0 {
			s.Fatalf("a deletion to which nobody has agreed: got %v, with the nodes %v", err, nodes)
		}
		for _, want := range append(nodes, "load balancers", "default/answers at ", "volumes", "nothing was deleted") {
			if !strings.Contains(err.Error(), want) {
				return fmt.Errorf("nothing is said of %q:\n%w", want, err)
			}
		}
		return nil
	})
}

// losesMachine takes the machine away that announces the address of a Service, with all that it had: another one answers at that address, and
// one takes its place, with a node of another name. The hub dies once it has said that the machine is ill.
func (s *story) losesMachine(cluster, url string) {
	s.Helper()
	lost := s.announcer(cluster)
	begun := time.Now()
	ill := make(chan error, 1)
	go func() { // from the beginning: it is said until the machine has been taken away
		ill <- rig.Eventually(s.ctx, patience, func(ctx context.Context) error {
			tree, err := s.Umbel(ctx, "cluster", "describe", cluster)
			if err == nil && (!strings.Contains(tree, lost.Node) || !strings.Contains(tree, "has been deleted")) {
				err = fmt.Errorf("it says\n%s", tree)
			}
			return err
		})
	}()
	s.dies(lost, url)
	if err := <-ill; err != nil {
		s.Fatalf("umbel cluster describe says that the machine is ill, and why: %v", err)
	}
	s.restartHub()
	s.eventually("another machine is there", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "nodes", "--no-headers")
		if err == nil && (strings.Count(out, " Ready ") != 2 || strings.Contains(out, lost.Node)) {
			tree, _ := s.Umbel(ctx, "cluster", "describe", cluster) // it says more, where it says something
			err = fmt.Errorf("its nodes are\n%s\nand it is\n%s", out, tree)
		}
		return err
	})
	s.Logf("a machine that was lost was replaced in %s, though the hub died meanwhile", time.Since(begun).Round(100*time.Millisecond))
}

// followsPods has a pool follow the pods: nobody needs its machine, and it goes; a pod asks for one, and it comes.
func (s *story) followsPods(cluster string, nodes func(want int, of ...string)) {
	s.Helper()
	s.umbel("cluster", "pool", "scale", cluster, "big", "--min", "0", "--max", "2", "--idle", "5s")
	begun := time.Now()
	nodes(0, "-l", "node.cluster.x-k8s.io/size=big")
	s.Logf("to no machine in %s", time.Since(begun).Round(100*time.Millisecond))
	begun = time.Now()
	s.runsThePod(cluster, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "wants-big"}, Spec: corev1.PodSpec{
		NodeSelector: map[string]string{"node.cluster.x-k8s.io/size": "big"},
		Tolerations:  []corev1.Toleration{{Key: "size", Operator: corev1.TolerationOpEqual, Value: "big", Effect: corev1.TaintEffectNoSchedule}},
	}})
	s.Logf("from no machine to a pod that runs in %s", time.Since(begun).Round(100*time.Millisecond))
	if out := s.umbel("cluster", "describe", cluster); !strings.Contains(out, "0 to 2 machines, as the pods need") {
		s.Errorf("the tree does not say that the pool follows the pods:\n%s", out)
	}
	s.umbel("kubectl", cluster, "--", "delete", "pod/wants-big")
	nodes(0, "-l", "node.cluster.x-k8s.io/size=big")
}

// killProvider kills the process of the Provider local, and waits until there is another one.
func (s *story) killProvider() {
	s.Helper()
	var pids []int
	s.eventually("the provider runs", func(context.Context) (err error) {
		if pids, err = s.Processes(s.Home, "provider", "serve"); err == nil && len(pids) != 1 {
			err = fmt.Errorf("it runs as %v", pids) // a child of it looks like it until it is another program
		}
		return err
	})
	process, err := os.FindProcess(pids[0])
	if err == nil {
		err = process.Kill()
	}
	if err != nil {
		s.Fatal(err)
	}
	s.eventually("the provider is back", func(context.Context) error {
		again, err := s.Processes(s.Home, "provider", "serve")
		if err == nil && (len(again) != 1 || again[0] == pids[0]) {
			err = fmt.Errorf("it runs as %v", again)
		}
		return err
	})
}

// hubDies kills the hub once a change of a cluster has made a machine, or ended one.
func (s *story) hubDies(cluster, change string) {
	s.Helper()
	machines := filepath.Join(s.Home, "local", cluster, "machines", "*", "machine.json")
	before, _ := filepath.Glob(machines) // the pattern is one
	s.hubDiesWhen("it has more machines, or fewer", func(context.Context) error {
		now, err := filepath.Glob(machines)
		if err == nil && len(now) == len(before) {
			err = errors.New("it has not")
		}
		return err
	}, change)
}

// hubDiesWhen kills the hub once a change has come so far: whoever asked for it, and waits, notices nothing but the time.
func (s *story) hubDiesWhen(what string, so func(context.Context) error, change string) {
	s.Helper()
	changed := make(chan error, 1)
	go func() {
		_, err := s.Shell(s.ctx, change)
		changed <- err
	}()
	s.eventually(what, so)
	s.restartHub()
	if err := <-changed; err != nil {
		s.Fatal(err)
	}
}

// hubDiesAsItEnds kills the hub once the process of a cluster's control plane has ended.
func (s *story) hubDiesAsItEnds(cluster, change string) {
	s.Helper()
	before, err := s.inits(s.ctx, cluster)
	if err != nil || before[0] == 0 {
		s.Fatalf("its machines run as %v (%v)", before, err)
	}
	s.hubDiesWhen("its control plane has ended", func(ctx context.Context) error {
		now, err := s.inits(ctx, cluster)
		if err == nil && now[0] == before[0] {
			err = fmt.Errorf("it runs as %d", now[0])
		}
		return err
	}, change)
}

// powerCut kills all machines of a cluster at once, and waits until each is there again.
func (s *story) powerCut(cluster string) {
	s.Helper()
	before, err := s.inits(s.ctx, cluster)
	if err != nil || len(before) != 2 {
		s.Fatalf("the machines of %s run as %v (%v)", cluster, before, err)
	}
	for _, pid := range before {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			s.Fatal(err)
		}
	}
	s.eventually("its machines are back", func(ctx context.Context) error {
		now, err := s.inits(ctx, cluster)
		if err != nil {
			return err
		}
		for i, pid := range now {
			if pid == 0 || pid == before[i] {
				return fmt.Errorf("they were %v, and are %v", before, now)
			}
		}
		return nil
	})
}

// inits returns the first processes of a cluster's machines, 0 for one that does not run; that of the control plane is first.
func (s *story) inits(ctx context.Context, cluster string) ([]int, error) {
	c, err := s.known(ctx, cluster)
	if err != nil {
		return nil, err
	}
	pids := []int{c.PID}
	for _, m := range c.Machines {
		pids = append(pids, m.PID)
	}
	return pids, nil
}

// runsAPod runs a pod on a cluster, of an image that every node has.
func (s *story) runsAPod(cluster, name string) {
	s.Helper()
	s.runsThePod(cluster, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
}

// runsThePod runs a pod with one container, and returns when it is ready.
func (s *story) runsThePod(cluster string, pod *corev1.Pod) {
	s.Helper()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	pod.Spec.Containers = []corev1.Container{{Name: "pause", Image: "registry.umbel.dev/pause:v1"}}
	raw, err := yaml.Marshal(pod)
	if err != nil {
		s.Fatal(err)
	}
	file := filepath.Join(s.TempDir(), "pod.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		s.Fatal(err)
	}
	s.eventually("the pod can be made", func(ctx context.Context) error { // its namespace's account may take a moment
		_, err := s.Umbel(ctx, "kubectl", cluster, "--", "apply", "-f", file)
		return err
	})
	s.umbel("kubectl", cluster, "--", "wait", "pod/"+pod.Name, "--for=condition=Ready", "--timeout=180s")
}

// nothingLeft looks for what a deleted cluster dev may have left.
func (s *story) nothingLeft() {
	s.Helper()
	if _, err := os.Stat(filepath.Join(s.Home, "local", "dev")); !errors.Is(err, os.ErrNotExist) {
		s.Errorf("its folder is there (%v)", err)
	}
	if pids, err := s.Processes(filepath.Join(s.Home, "local", "dev")); err != nil || len(pids) > 0 {
		s.Errorf("its processes are there: %v (%v)", pids, err)
	}
	namespaces, err := os.ReadDir("/run/netns")
	if err != nil {
		s.Fatal(err)
	}
	out := s.umbel("local", "list", "-o", "json")
	bridge, _, _ := strings.Cut(strings.SplitN(out, `"namespace": "`, 2)[1], "-")
	for _, n := range namespaces {
		if strings.HasPrefix(n.Name(), bridge+"-dev-") {
			s.Errorf("its namespace %s is there", n.Name())
		}
	}
	for _, kind := range []string{"clusters.cluster.x-k8s.io", "machines.cluster.x-k8s.io", "localmachines", "hostedclusters", "hostedcontrolplanes"} {
		out := s.shell(rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + hub.AdminKubeconfig(s.Home) + " get " + kind + " -n default -o name")
		if strings.Contains(out, "dev") {
			s.Errorf("its %s are there: %s", kind, out)
		}
	}
	s.eventually("its Secrets are gone", func(ctx context.Context) error { // a garbage collector deletes them
		out, err := s.Shell(ctx, rig.Binary("umbel-kube")+" kubectl --kubeconfig="+hub.AdminKubeconfig(s.Home)+" get secrets -n default -o name")
		if err == nil && strings.Contains(out, "dev") {
			err = errors.New(out)
		}
		return err
	})
	s.eventually("the fleet has forgotten it", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "get", "clusters", "-o", "name")
		if err == nil && strings.Contains(out, "/dev") {
			err = errors.New(out)
		}
		return err
	})
}
