package local

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
)

func TestSpecValidate(t *testing.T) {
	for _, c := range []struct {
		reason string
		spec   Spec
		want   string // part of the error; empty for none
	}{
		{"a name", Spec{Name: "prod-eu", Nodes: 1}, ""},
		{"a control plane alone", Spec{Name: "x"}, ""},
		{"no name", Spec{}, `cluster name "": must be`},
		{"capitals", Spec{Name: "Prod"}, `cluster name "Prod"`},
		{"a way out of the folder", Spec{Name: "../x"}, `cluster name "../x"`},
		{"the folder of images", Spec{Name: ".images"}, `cluster name ".images"`},
		{"too long", Spec{Name: strings.Repeat("x", 41)}, "at most 40"},
		{"as many nodes as there can be", Spec{Name: "x", Nodes: 32}, ""},
		{"more nodes than there can be", Spec{Name: "x", Nodes: 33}, `cluster "x": nodes is 33`},
	} {
		err := c.spec.Validate()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", c.reason, err, c.want)
		}
	}
}

func TestRangesOfAFleetAreDisjoint(t *testing.T) {
	fleet := network.Fleet(3)
	var specs []machine.Spec
	for index := 1; index <= maxClusters; index++ {
		main := record{Name: "x", Nodes: 1, Index: index, Fleet: &fleet}.place("/d", 0)
		specs = append(specs, main.spec(main, Binaries{}, machine.Host{}))
	}
	for i, a := range specs {
		if a.PodCIDR.Overlaps(a.ServiceCIDR) || a.PodCIDR.Overlaps(fleet.Prefix()) || a.ServiceCIDR.Overlaps(fleet.Prefix()) {
			t.Errorf("cluster %d: %s, %s and %s overlap", i+1, a.PodCIDR, a.ServiceCIDR, fleet.Prefix())
		}
		for j, b := range specs[:i] {
			if a.PodCIDR.Overlaps(b.PodCIDR) || a.ServiceCIDR.Overlaps(b.ServiceCIDR) || a.PodCIDR.Overlaps(b.ServiceCIDR) || b.PodCIDR.Overlaps(a.ServiceCIDR) {
				t.Errorf("clusters %d and %d overlap", i+1, j+1)
			}
		}
	}
}

// TestMachinesOfAClusterAreDisjoint: each knows the way to the pods of all others, and has a folder, a link and addresses of its own.
func TestMachinesOfAClusterAreDisjoint(t *testing.T) {
	fleet := network.Fleet(3)
	r := record{Name: "x", Nodes: MaxNodes, Index: 7, Fleet: &fleet}
	main := r.place("/d", 0)
	seen := map[string]int{}
	for number, p := range r.places("/d") {
		spec, net := p.spec(main, Binaries{}, machine.Host{}), p.network()
		for _, own := range []string{p.dir, p.node(), p.cgroup(), net.Path(), fleet.Link(p.node()), spec.Address.String(), spec.NodePods.String()} {
			if other, taken := seen[own]; taken {
				t.Errorf("machines %d and %d both have %s", other, number, own)
			}
			seen[own] = number
		}
		if !spec.PodCIDR.Contains(spec.NodePods.Addr()) || spec.NodePods.Bits() != 24 || !fleet.Prefix().Contains(spec.Address) {
			t.Errorf("machine %d has pods in %s and address %s", number, spec.NodePods, spec.Address)
		}
		if (spec.Main == nil) != (number == 0) {
			t.Errorf("machine %d has its control plane at %+v", number, spec.Main)
		}
		ways := map[string]string{}
		for _, peer := range net.Peers {
			ways[peer.Pods.String()] = peer.Address.String()
		}
		for other, q := range r.places("/d") {
			if way := ways[q.pods().String()]; other != number && way != q.address().String() || other == number && way != "" {
				t.Errorf("machine %d reaches the pods of machine %d by %q", number, other, way)
			}
		}
	}
}

// TestStrays: what a cluster has beyond its record is found by its folders, and nothing else is taken for it.
func TestStrays(t *testing.T) {
	l := newLocal(t)
	fleet := network.Fleet(0)
	r := record{Name: "dev", Nodes: 2, Index: 1, Fleet: &fleet}
	for _, dir := range []string{"dev-1", "dev-2", "dev-31", "dev-x", "other-2"} {
		if err := os.MkdirAll(filepath.Join(l.dir("dev"), machine.MachinesDir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	strays, err := l.strays(r)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range strays {
		names = append(names, p.node())
	}
	if diff := cmp.Diff([]string{"dev-2", "dev-31"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestScaleRefuses(t *testing.T) {
	l := newLocal(t)
	if err := os.MkdirAll(l.dir("alone"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.save(record{Name: "alone", Index: 2}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Name: "alone", Nodes: 2}, "is made in another way"},
		{Spec{Name: "alone", Nodes: 33}, "nodes is 33"},
		{Spec{Name: "nobody", Nodes: 2}, `no local cluster "nobody"`},
	} {
		if _, err := l.Scale(t.Context(), c.spec, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got error %v, want %q", c.spec, err, c.want)
		}
	}
	err := &NodesError{Name: "dev", Has: 1, Wanted: 3}
	if want := "`umbel local scale dev --nodes=3`"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not name %s", err, want)
	}
}

// TestTaken are the ranges that Cluster API does not know of.
func TestTaken(t *testing.T) {
	fleet := network.Fleet(3)
	got := takenBy([]record{{Name: "edge", Index: 2, Fleet: &fleet}, {Name: "alone", Index: 3}, {Name: "dev", Owner: "default/dev", Index: 4, Fleet: &fleet}})
	want := []infra.TakenRange{
		{Range: "10.66.0.0/16", Of: "the pods of cluster \"edge\" of `umbel local`"}, {Range: "10.130.0.0/16", Of: "the services of cluster \"edge\" of `umbel local`", Services: true},
		{Range: "10.67.0.0/16", Of: "the pods of cluster \"alone\" of `umbel local`"}, {Range: "10.131.0.0/16", Of: "the services of cluster \"alone\" of `umbel local`", Services: true},
		{Range: fleet.Prefix().String(), Of: "the network of this computer's machines"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFreeIndex(t *testing.T) {
	var all []record
	for index := 1; index <= maxClusters; index++ {
		all = append(all, record{Index: index})
	}
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		reason  string
		own     Ranges
		records []record
		want    int // zero for an error
	}{
		{"the first", Ranges{}, nil, 1},
		{"a gap is filled", Ranges{}, []record{{Index: 1}, {Index: 3}}, 2},
		{"all are taken", Ranges{}, all, 0},
		{"somebody asked for what the first would have", Ranges{}, []record{{Name: "b", Index: 9, Ranges: Ranges{Pods: prefix("10.65.0.0/16")}}}, 2},
		{"somebody asked for what the first would have, for services", Ranges{}, []record{{Name: "b", Index: 9, Ranges: Ranges{Services: prefix("10.129.0.0/20")}}}, 2},
		{"ranges of its own", Ranges{Pods: prefix("10.20.0.0/16"), Services: prefix("10.21.0.0/16")}, []record{{Name: "b", Index: 1}}, 2},
		{"another one's pods", Ranges{Pods: prefix("10.66.0.0/16"), Services: prefix("10.21.0.0/16")}, []record{{Name: "b", Index: 2}}, 0},
		{"its own pods", Ranges{Pods: prefix("10.20.0.0/16"), Services: prefix("10.20.4.0/24")}, nil, 0},
		{"any addresses for Services", Ranges{Balancer: prefix("0.0.0.0/28")}, nil, 1},
		{"of which somebody asked for the first", Ranges{Balancer: prefix("0.0.0.0/28")}, []record{{Name: "b", Index: 9, Fleet: new(network.Fleet(3)), Ranges: Ranges{Balancer: prefix("10.203.129.8/29")}}}, 2},
		{"another one's addresses for Services", Ranges{Balancer: prefix("10.203.200.8/29")}, []record{{Name: "b", Index: 9, Fleet: new(network.Fleet(3)), Ranges: Ranges{Balancer: prefix("10.203.200.0/24")}}}, 0},
		{"addresses for Services among the machines", Ranges{Balancer: prefix("10.203.4.0/28")}, nil, 0},
		{"the machines' network", Ranges{Pods: prefix("10.203.0.0/16"), Services: prefix("10.21.0.0/16")}, nil, 0},
	} {
		fleet := network.Fleet(3)
		got, err := freeIndex(record{Name: "a", Fleet: &fleet, Ranges: c.own}, c.records)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: got %d, %v, want %d", c.reason, got, err, c.want)
		}
	}
}

func TestTheSecondCommandIsToldSoAtOnce(t *testing.T) {
	l := newLocal(t)
	if err := os.MkdirAll(l.dir("dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := l.lockCluster("dev")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.lockCluster("dev"); err == nil || !strings.Contains(err.Error(), "another umbel command is at work") {
		t.Errorf("got error %v, want that another command is at work", err)
	}
	unlock()
	unlock, err = l.lockCluster("dev")
	if err != nil {
		t.Fatalf("after the first is done: %v", err)
	}
	unlock()
}

func TestUnknownClusterIsNotFound(t *testing.T) {
	l := newLocal(t)
	for verb, do := range map[string]func() error{
		"start":  func() error { _, err := l.Start(t.Context(), "nobody", nil); return err },
		"stop":   func() error { return l.Stop(t.Context(), "nobody") },
		"delete": func() error { return l.Delete(t.Context(), "nobody") },
	} {
		if _, ok := errors.AsType[*NotFoundError](do()); !ok {
			t.Errorf("%s: got %v, want a NotFoundError", verb, do())
		}
	}
}

func TestDamagedRecordNamesItsFile(t *testing.T) {
	l := newLocal(t)
	path := filepath.Join(l.dir("dev"), recordFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.List(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got error %v, want it to name %s", err, path)
	}
}

func TestTrustRegistry(t *testing.T) {
	l := newLocal(t)
	fleet := network.Fleet(0)
	for _, r := range []record{{Name: "dev", Nodes: 1, Index: 1, Fleet: &fleet}, {Name: "alone", Index: 2}} {
		if err := os.MkdirAll(l.dir(r.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := l.save(r); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("the CA"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.TrustRegistry(Registry{Host: "10.200.0.1:7443", CAFile: ca}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(l.dir("dev"), "var/lib/registries/10.200.0.1:7443/hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	want := `server = "https://10.200.0.1:7443"

[host."https://10.200.0.1:7443"]
  capabilities = ["pull", "resolve"]
  ca = "/var/lib/registries/10.200.0.1:7443/ca.crt"
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("hosts.toml (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(l.dir("alone"), "var")); err == nil {
		t.Error("a cluster without a containerd has a /var")
	}
}

// TestHealingTrustsTheHub: a cluster that is older than the hub is told of it when it is healed, whether it runs or not.
func TestHealingTrustsTheHub(t *testing.T) {
	l := newLocal(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, []byte("the CA"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.needs.Registries = []Registry{{Host: "10.200.0.1:7443", CAFile: ca}}
	for _, cluster := range []record{{}, {Nodes: 1, Fleet: new(network.Fleet)}} {
		want := cluster.Nodes > 0
		m := &raising{local: l, place: cluster.place(t.TempDir(), 0)}
		if err := m.trustRegistries(); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(filepath.Join(m.place.dir, "var/lib/registries/10.200.0.1:7443/hosts.toml"))
		if got := err == nil; got != want {
			t.Errorf("with %d nodes it trusts the hub: %t, want %t", cluster.Nodes, got, want)
		}
	}
}

func TestMissingErrorTellsTheCommand(t *testing.T) {
	missing := &MissingError{}
	for _, tool := range []struct{ name, pkg string }{{"containerd", "containerd"}, {"ctr", "containerd"}, {"nft", "nftables"}} {
		missing.add(tool.name, tool.pkg)
	}
	want := "a cluster with a node needs containerd, ctr, nft: run `apt-get install -y containerd nftables`, or make the cluster with --nodes=0"
	if diff := cmp.Diff(want, missing.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHasCapability(t *testing.T) {
	for _, c := range []struct {
		reason string
		status string
		want   bool
	}{
		{"all", "Name:\tx\nCapEff:\t000001ffffffffff\n", true},
		{"all but this one", "CapEff:\t000001fffeffffff\n", false},
		{"no such line", "Name:\tx\n", false},
		{"not a number", "CapEff:\tx\n", false},
	} {
		if got := hasCapability(c.status, unix.CAP_SYS_RESOURCE); got != c.want {
			t.Errorf("%s: got %t, want %t", c.reason, got, c.want)
		}
	}
}

func TestReadySinceNeedsAWordOfThisLife(t *testing.T) {
	launched := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	node := func(status corev1.ConditionStatus, heartbeat time.Time) *corev1.Node {
		return &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(heartbeat)},
		}}}
	}
	for _, c := range []struct {
		reason string
		node   *corev1.Node
		want   bool
	}{
		{"nothing said yet", &corev1.Node{}, false},
		{"not Ready", node(corev1.ConditionFalse, launched), false},
		{"Ready before the power was cut", node(corev1.ConditionTrue, launched.Add(-time.Second)), false},
		{"Ready in the same second", node(corev1.ConditionTrue, launched), true},
	} {
		if got := readySince(c.node, launched); got != c.want {
			t.Errorf("%s: got %t, want %t", c.reason, got, c.want)
		}
	}
}

func TestDNSObjects(t *testing.T) {
	fleet := network.Fleet(0)
	main := record{Name: "dev", Nodes: 1, Index: 1, Fleet: &fleet}.place("/d", 0)
	objects, err := dnsObjects(main.spec(main, Binaries{}, machine.Host{}))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, object := range objects {
		if _, ok := resources[object.GetKind()]; !ok {
			t.Errorf("no resource is known of kind %s", object.GetKind())
		}
		kinds = append(kinds, object.GetKind())
		if object.GetKind() == "Service" {
			if spec := object.Object["spec"].(map[string]any); spec["clusterIP"] != "10.129.0.10" {
				t.Errorf("got cluster IP %v, want that of the kubelet's configuration", spec["clusterIP"])
			}
		}
	}
	want := []string{"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Service", "Deployment"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func newLocal(t *testing.T) *Local {
	t.Helper()
	bin := t.TempDir()
	binaries := BinariesIn(bin)
	for _, path := range []string{binaries.Umbel, binaries.Kube, binaries.CoreDNS, binaries.Pause} {
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := New(Needs{Home: t.TempDir(), Binaries: binaries})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNewSaysWhichBinaryIsMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := New(Needs{Home: t.TempDir(), Binaries: BinariesIn(dir)})
	if err == nil || !strings.Contains(err.Error(), "run `make build`") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got error %v, want it to name the folder and the command", err)
	}
}

func TestFuturePathFollowsLinksAsFarAsThereAreAny(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "link"):             dir,
		filepath.Join(dir, "link", "new/home"): filepath.Join(dir, "new/home"),
		filepath.Join(dir, "other"):            filepath.Join(dir, "other"),
	} {
		if got, err := futurePath(path); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", path, got, err, want)
		}
	}
}

// TestTheAuditLogsBesideAKubeconfig: people have the kubeconfig that is a link in the cluster's folder, by whatever way they come there.
func TestTheAuditLogsBesideAKubeconfig(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cluster := filepath.Join(dir, "local", "dev")
	if err := errors.Join(os.MkdirAll(filepath.Join(cluster, "kube"), 0o755), os.WriteFile(filepath.Join(cluster, recordFile), nil, 0o644), linkKubeconfig(cluster),
		os.WriteFile(filepath.Join(cluster, "kube", "admin.kubeconfig"), nil, 0o600), os.Symlink("local", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(cluster, "kubeconfig"):             filepath.Join(cluster, "audit/*/audit.log"),
		filepath.Join(dir, "link", "dev", "kubeconfig"):  filepath.Join(cluster, "audit/*/audit.log"),
		filepath.Join(dir, "kubeconfig"):                 "",
		filepath.Join(dir, "not", "there", "kubeconfig"): "",
	} {
		if got := AuditLogBeside(path); got != want {
			t.Errorf("beside %s: %q, want %q", path, got, want)
		}
	}
}
