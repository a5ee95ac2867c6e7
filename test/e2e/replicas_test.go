//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/test/rig"
)

// gatewayPort is the port of the base cluster's node at which agents and people reach the hub.
const gatewayPort = 30443

// replicated is a hub of three replicas that the Helm chart installed on the local cluster base, which is its own member,
// with two more members.
type replicated struct {
	*story
	clusters *local.Local
	base     local.Cluster
}

var replicatedMembers = []string{"base", "edge-a", "edge-b"}

// TestReplicas installs the hub by its Helm chart as three replicas, kills them one after the other, and looks whether
// anybody notices.
func TestReplicas(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatalf("this test needs a cluster with a node: %v", err)
	}
	s := newReplicated(t)
	s.deliver("one")
	s.with("every member is reached at every replica", func(*story) { s.reachAll() })
	s.with("a replica is killed", func(*story) { s.replicaDies() })
	s.with("the leader is killed", func(*story) { s.leaderDies() })
	s.with("each replica answers for all that is measured", func(*story) { s.isMeasured(time.Now()) })
}

func newReplicated(t *testing.T) *replicated {
	home := varHome(t)
	s := &replicated{story: tell(t, &rig.Fleet{Home: home, Log: t.Output()})}
	clusters, err := local.New(local.Needs{Home: home, Binaries: local.BinariesIn(filepath.Dir(rig.Binary("umbel")))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, name := range replicatedMembers {
			if err := clusters.Delete(context.WithoutCancel(t.Context()), name); err != nil {
				t.Error(err)
			}
		}
	})
	address, err := clusters.HubAddress()
	if err != nil {
		t.Fatal(err)
	}
	registry, store := serveRegistry(t, address)
	for _, name := range replicatedMembers {
		nodes := "0"
		if name == "base" {
			nodes = "1"
		}
		s.umbel("local", "create", name, "--nodes", nodes)
	}
	if err := clusters.TrustRegistry(registry); err != nil {
		t.Fatal(err)
	}
	if err := store.PushImage(t.Context(), "umbel/hub", "v1", rig.Binary("umbel"), rig.Binary("umbel-agent")); err != nil {
		t.Fatal(err)
	}
	s.clusters, s.base = clusters, describeLocal(t, clusters, "base")
	t.Setenv("UMBEL_KUBECONFIG", s.base.Kubeconfig)
	s.install(registry)
	s.join()
	return s
}

// kubeconfig is that of a local cluster's administrator.
func (s *replicated) kubeconfig(name string) string {
	return filepath.Join(s.Home, "local", name, "kubeconfig")
}

// install installs the chart.
func (s *replicated) install(registry local.Registry) {
	s.Helper()
	server, err := url.Parse(s.base.Server)
	if err != nil {
		s.Fatal(err)
	}
	values := filepath.Join(s.T.TempDir(), "values.yaml")
	writeWhole(s.T, values, fmt.Sprintf(`
address: %s
image: %s/umbel/hub:v1
registry: {url: "https://%s/fleet", caConfigMap: registry-ca}
service: {type: NodePort, nodePort: %d}
resources: {requests: {cpu: 10m, memory: 64Mi}}
storage: {size: ""}
`, net.JoinHostPort(server.Hostname(), fmt.Sprint(gatewayPort)), registry.Host, registry.Host, gatewayPort))
	helm := exec.CommandContext(s.ctx, rig.Binary("helm"), "install", "umbel-hub", filepath.Join(rig.Root(), "deploy", "chart"),
		"--namespace", v1alpha1.SystemNamespace, "--create-namespace", "--values", values)
	helm.Env = append(os.Environ(), "KUBECONFIG="+s.base.Kubeconfig, "HOME="+s.T.TempDir())
	if out, err := helm.CombinedOutput(); err != nil {
		s.Fatalf("helm install: %v\n%s", err, out)
	}
	ca, err := os.ReadFile(registry.CAFile)
	if err != nil {
		s.Fatal(err)
	}
	_, err = s.clients("base").CoreV1().ConfigMaps(v1alpha1.SystemNamespace).Create(s.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "registry-ca"}, Data: map[string]string{"ca.crt": string(ca)},
	}, metav1.CreateOptions{})
	if err != nil {
		s.Fatal(err)
	}
	if err := rig.Eventually(s.ctx, localPatience, s.ready); err != nil {
		s.Fatalf("the replicas are ready: %v\n%s", err, s.logs())
	}
}

func (s *replicated) ready(ctx context.Context) error {
	set, err := s.clients("base").AppsV1().StatefulSets(v1alpha1.SystemNamespace).Get(ctx, "umbel-hub", metav1.GetOptions{})
	if err == nil && set.Status.ReadyReplicas != 3 {
		err = fmt.Errorf("%d of 3 replicas are ready", set.Status.ReadyReplicas)
	}
	return err
}

// logs are the ends of the replicas' logs.
func (s *replicated) logs() string {
	var all strings.Builder
	lines := int64(40)
	for i := range 3 {
		name := fmt.Sprintf("umbel-hub-%d", i)
		raw, err := s.clients("base").CoreV1().Pods(v1alpha1.SystemNamespace).GetLogs(name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(s.ctx)
		fmt.Fprintf(&all, "%s: %v\n%s\n", name, err, raw)
	}
	return all.String()
}

func (s *replicated) join() {
	s.Helper()
	s.umbel("join", "base", "--kubeconfig", s.kubeconfig("base"), "--timeout", "3m")
	for _, edge := range replicatedMembers[1:] {
		s.umbel("join", edge, "--kubeconfig", s.kubeconfig(edge), "--agent", "process",
			"--agent-dir", filepath.Join(s.Home, "local", edge, "agent"), "--timeout", "3m")
	}
	s.shell(rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + s.base.Kubeconfig + " patch memberclusters " + strings.Join(replicatedMembers, " ") + ` --type=merge -p '{"spec":{"metrics":{"profile":"Standard"}}}'`)
}

// deliver has every member hold a ConfigMap with a value, and waits until they do.
func (s *replicated) deliver(value string) {
	s.Helper()
	manifest := filepath.Join(s.T.TempDir(), "package.yaml")
	writeWhole(s.T, manifest, fmt.Sprintf(`
apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata: {name: all, namespace: default}
spec: {clusterSelector: {}}
---
apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: note, namespace: default}
spec:
  placementRef: {name: all}
  source:
    inline:
      objects:
        - {apiVersion: v1, kind: ConfigMap, metadata: {name: note, namespace: default}, data: {value: %s}}
`, value))
	kubectl := exec.CommandContext(s.ctx, rig.Binary("umbel-kube"), "kubectl", "--kubeconfig", s.base.Kubeconfig, "apply", "-f", manifest)
	if out, err := kubectl.CombinedOutput(); err != nil {
		s.Fatalf("kubectl apply: %v\n%s", err, out)
	}
	for _, member := range replicatedMembers {
		s.holds(member, "default", "note", "value", value)
	}
}

// versions are the resource versions of what the members hold: they change when somebody writes.
func (s *replicated) versions() map[string]string {
	s.Helper()
	versions := map[string]string{}
	for _, member := range replicatedMembers {
		object, err := s.clients(member).CoreV1().ConfigMaps("default").Get(s.ctx, "note", metav1.GetOptions{})
		if err != nil {
			s.Fatal(err)
		}
		versions[member] = string(object.UID) + "/" + object.ResourceVersion
	}
	return versions
}

// at returns which replica each member is in session with, and the id of that session, once all are connected, none in one that has ended.
func (s *replicated) at(ended map[string]string) (at, ids map[string]string) {
	s.Helper()
	at, ids = map[string]string{}, map[string]string{}
	s.eventually("every member is in session", func(context.Context) error {
		for _, member := range replicatedMembers {
			status := s.member(member).Status
			if c := condition(status.Conditions, v1alpha1.ConditionConnected); c.Status != metav1.ConditionTrue {
				return fmt.Errorf("%s is not connected: %s", member, c.Message)
			}
			if status.Session == nil || status.Session.ID == ended[member] {
				return fmt.Errorf("the session of %s is %v", member, status.Session)
			}
			at[member], ids[member] = status.Session.Replica, status.Session.ID
		}
		return nil
	})
	return at, ids
}

// server is where one replica is, on base's node.
func (s *replicated) server(replica string) string {
	s.Helper()
	pod, err := s.clients("base").CoreV1().Pods(v1alpha1.SystemNamespace).Get(s.ctx, replica, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return "https://" + net.JoinHostPort(pod.Status.PodIP, "8443")
}

// door is how the hub's administrator is known by one replica. It dials from the base's node.
func (s *replicated) door(replica string) *rest.Config {
	s.Helper()
	admin, err := clientcmd.BuildConfigFromFlags("", s.base.Kubeconfig)
	if err != nil {
		s.Fatal(err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.CertFile, config.KeyFile, config.CertData, config.KeyData = admin.CertFile, admin.KeyFile, admin.CertData, admin.KeyData
	config.CAData, config.CAFile, config.Insecure = nil, "", true // its certificate is for the hub's address, not the pod's
	config.Host = s.server(replica)
	config.Dial = func(ctx context.Context, protocol, address string) (conn net.Conn, err error) {
		err = network.Within("/run/netns/"+s.base.Namespace, func() error {
			conn, err = (&net.Dialer{}).DialContext(ctx, protocol, address)
			return err
		})
		return conn, err
	}
	return config
}

// through returns a client of a member by way of one replica.
func (s *replicated) through(replica, member string) *kubernetes.Clientset {
	s.Helper()
	config := s.door(replica)
	config.Host += "/clusters/" + member
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	return client
}

func replicaName(i int) string { return fmt.Sprintf("umbel-hub-%d", i) }

func (s *replicated) reachAll() {
	s.Helper()
	for i := range 3 {
		for _, member := range replicatedMembers {
			client := s.through(replicaName(i), member)
			s.eventually(member+" is reached at "+replicaName(i), func(ctx context.Context) error { // once that replica has heard with whom it is in session
				object, err := client.CoreV1().ConfigMaps("default").Get(ctx, "note", metav1.GetOptions{})
				if err == nil && object.Data["value"] != "one" {
					err = fmt.Errorf("it has %v", object.Data)
				}
				return err
			})
		}
	}
	s.umbel("kubectl", "edge-a", "--", "get", "namespaces")
}

// kill kills the process of a replica.
func (s *replicated) kill(replica string) {
	s.Helper()
	for _, p := range processes() {
		if filepath.Base(p.args[0]) == "umbel" && slices.Contains(p.args, "--replica="+replica) {
			killProcess(s.T, p.pid)
			return
		}
	}
	s.Fatalf("%s has no process", replica)
}

// replicaDies kills a replica that has sessions and does not lead: its agents go elsewhere, what has nothing to do with it goes on, what
// came by it ends with an error, and nothing is applied anew.
func (s *replicated) replicaDies() {
	s.Helper()
	s.hasShell()
	at, ids := s.at(nil)
	before, leader := s.versions(), s.leader()
	victim, ended := "", map[string]string{}
	for _, member := range replicatedMembers {
		if victim == "" || at[member] != leader {
			victim = at[member]
		}
	}
	watches, cut, shells := s.watchBeside(victim, at), s.watchBy(victim, at), s.shells()
	start := time.Now()
	s.kill(victim)
	for _, member := range replicatedMembers {
		if at[member] == victim {
			ended[member] = ids[member]
			s.answersAgain(member, victim, start)
		}
	}
	s.at(ended) // with another replica, or with this one when it is back
	if after := s.versions(); fmt.Sprint(after) != fmt.Sprint(before) {
		s.Errorf("what members hold was written anew: %v, it was %v", after, before)
	}
	s.deliver("two")
	s.hears(watches, "does not see what changed")
	s.hears(cut, "goes on, and its replica is gone")
	for replica, shell := range shells {
		if replica == victim || at["base"] == victim {
			s.breaksOff(shell)
			continue
		}
		if _, err := fmt.Fprintln(shell.in, "goes on"); err != nil {
			s.Error(err)
		}
		s.says(shell, "heard goes on")
	}
	s.eventually("every replica is ready again", s.ready)
}

// hears waits for what each stream has come to: nil is as it should be.
func (s *replicated) hears(streams map[string]chan error, otherwise string) {
	s.Helper()
	for name, came := range streams {
		select {
		case err := <-came:
			if err != nil {
				s.Errorf("%s: %v", name, err)
			}
		case <-time.After(localPatience):
			s.Errorf("%s %s", name, otherwise)
		}
	}
}

// hasShell starts a pod on base that has a shell.
func (s *replicated) hasShell() {
	s.Helper()
	manifest := filepath.Join(s.T.TempDir(), "shell.yaml")
	writeWhole(s.T, manifest, "apiVersion: v1\nkind: Namespace\nmetadata: {name: people}\n---\n"+shellPod())
	kubectl := fmt.Sprintf("umbel-kube kubectl --kubeconfig '%s' ", s.base.Kubeconfig)
	s.eventually("base has a pod", func(ctx context.Context) error { // its ServiceAccount comes after the Namespace
		_, err := s.Shell(ctx, kubectl+"apply -f "+manifest)
		return err
	})
	s.shell(kubectl + "-n people wait --for=condition=Ready pod/shell --timeout=180s")
}

// shells has somebody type in that pod by way of each replica, with kubectl on base's node.
func (s *replicated) shells() map[string]*talk {
	s.Helper()
	shells := map[string]*talk{}
	for i := range 3 {
		config, err := clientcmd.LoadFromFile(s.base.Kubeconfig)
		if err != nil {
			s.Fatal(err)
		}
		for _, cluster := range config.Clusters {
			cluster.Server, cluster.InsecureSkipTLSVerify = s.server(replicaName(i))+"/clusters/base", true
			cluster.CertificateAuthority, cluster.CertificateAuthorityData = "", nil
		}
		kubeconfig := filepath.Join(s.T.TempDir(), "kubeconfig")
		if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
			s.Fatal(err)
		}
		shell := s.begins("a shell by way of "+replicaName(i), exec.CommandContext(s.ctx, "ip", "netns", "exec", s.base.Namespace,
			rig.Binary("umbel-kube"), "kubectl", "--kubeconfig", kubeconfig, "-n", "people", "exec", "-i", "shell", "-c", "bash", "--",
			"bash", "-c", `echo ready; while read -r line; do echo "heard $line"; done`))
		s.says(shell, "ready")
		shells[replicaName(i)] = shell
	}
	return shells
}

// answersAgain waits until a member answers through a replica that is alive, and says how long that took.
func (s *replicated) answersAgain(member, victim string, since time.Time) {
	s.Helper()
	alive := replicaName(0)
	if alive == victim {
		alive = replicaName(1)
	}
	client := s.through(alive, member)
	s.eventually(member+" answers again", func(ctx context.Context) error {
		_, err := client.CoreV1().ConfigMaps("default").Get(ctx, "note", metav1.GetOptions{})
		return err
	})
	s.Logf("%s answers again %s after %s was killed", member, time.Since(since).Round(10*time.Millisecond), victim)
}

// watchBeside watches, through replicas that stay alive, the members whose sessions are with such. Each channel gets nil when
// the next value arrives.
func (s *replicated) watchBeside(victim string, at map[string]string) map[string]chan error {
	s.Helper()
	watches := map[string]chan error{}
	for i := range 3 {
		for _, member := range replicatedMembers {
			if replicaName(i) == victim || at[member] == victim {
				continue
			}
			watching, err := s.through(replicaName(i), member).CoreV1().ConfigMaps("default").Watch(s.ctx, metav1.ListOptions{FieldSelector: "metadata.name=note"})
			if err != nil {
				s.Fatal(err)
			}
			s.T.Cleanup(watching.Stop)
			seen := make(chan error, 1)
			watches[fmt.Sprintf("the watch of %s at %s", member, replicaName(i))] = seen
			go func() {
				for event := range watching.ResultChan() {
					if object, ok := event.Object.(*corev1.ConfigMap); ok && object.Data["value"] == "two" {
						seen <- nil
						return
					}
				}
				seen <- errors.New("it ended")
			}()
		}
	}
	return watches
}

// watchBy watches the members that are in session with a replica, through the others. Each channel gets nil when such a stream has ended
// with an error, and an error when it ended as if it were complete.
func (s *replicated) watchBy(victim string, at map[string]string) map[string]chan error {
	s.Helper()
	watches := map[string]chan error{}
	for i := range 3 {
		for _, member := range replicatedMembers {
			if replicaName(i) == victim || at[member] != victim {
				continue
			}
			stream, err := s.through(replicaName(i), member).CoreV1().RESTClient().Get().Namespace("default").Resource("configmaps").
				Param("watch", "1").Stream(s.ctx)
			if err != nil {
				s.Fatal(err)
			}
			s.T.Cleanup(func() { stream.Close() })
			ended := make(chan error, 1)
			watches[fmt.Sprintf("the watch of %s at %s", member, replicaName(i))] = ended
			go func() {
				_, err := io.Copy(io.Discard, stream)
				if err == nil {
					ended <- errors.New("it was cut off and ended as if it were complete")
					return
				}
				ended <- nil
			}()
		}
	}
	return watches
}

// leader returns which replica leads.
func (s *replicated) leader() string {
	s.Helper()
	leader := ""
	s.eventually("one replica leads", func(ctx context.Context) error {
		lease, err := s.clients("base").CoordinationV1().Leases(v1alpha1.SystemNamespace).Get(ctx, "umbel-hub-leader", metav1.GetOptions{})
		if err != nil {
			return err
		}
		leader, _, _ = strings.Cut(holder(lease), "_")
		if leader == "" {
			return errors.New("nobody holds the lease")
		}
		return nil
	})
	return leader
}

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// leaderDies kills the leader: another one leads, and delivers.
func (s *replicated) leaderDies() {
	s.Helper()
	s.kill(s.leader())
	s.deliver("three")
	s.at(nil)
}
