package local

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/internal/lifecycle/local/network"
	"umbel.dev/umbel/internal/lifecycle/local/quorum"
)

func TestRangesValidate(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		reason string
		ranges Ranges
		want   string
	}{
		{"none", Ranges{}, ""},
		{"both", Ranges{Pods: prefix("10.1.0.0/16"), Services: prefix("10.2.0.0/20")}, ""},
		{"pods that machines cannot share", Ranges{Pods: prefix("10.1.0.0/24")}, "is to be a /16"},
		{"an address in the middle", Ranges{Pods: prefix("10.1.2.0/16")}, "no IPv4 network"},
		{"the other family", Ranges{Services: prefix("fd00::/108")}, "no IPv4 network"},
		{"addresses for Services", Ranges{Balancer: prefix("10.203.129.0/28")}, ""},
		{"more of them than a cluster has to itself", Ranges{Balancer: prefix("10.203.128.0/20")}, "too many"},
		{"no place for the DNS", Ranges{Services: prefix("10.2.0.0/29")}, "too small"},
	} {
		err := c.ranges.Validate()
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.reason, err, c.want)
		}
	}
}

// TestALoadBalancerIsWhereItIsAskedFor: no other cluster carries its image, and none is promised one that was not built.
func TestALoadBalancerIsWhereItIsAskedFor(t *testing.T) {
	dir, fleet := t.TempDir(), network.Fleet(3)
	l := &Local{needs: Needs{Binaries: BinariesIn(dir)}}
	without, with := record{Fleet: &fleet, Index: 2}, record{Fleet: &fleet, Index: 2, Ranges: Ranges{Balancer: netip.MustParsePrefix("0.0.0.0/28")}}
	if got := with.balancer().String(); got != "10.203.130.0/28" {
		t.Errorf("any sixteen addresses are %s", got)
	}
	if n, more := len(l.images(without)), len(l.images(with)); n != 2 || more != 3 || l.images(with)[2].ref != balancerImage {
		t.Errorf("without it a machine has %d images, with it %d", n, more)
	}
	if err := l.checkBalancer(without.Ranges); err != nil {
		t.Errorf("without it: %v", err)
	}
	if err := l.checkBalancer(with.Ranges); err == nil || !strings.Contains(err.Error(), "make balancer") {
		t.Errorf("before it was built: %v", err)
	}
	for _, name := range []string{"umbel-metallb-controller", "umbel-metallb-speaker", "umbel-metallb.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.checkBalancer(with.Ranges); err != nil {
		t.Errorf("when it was built: %v", err)
	}
}

// TestANodeIsNotStartedWithoutWatches: its kubelet would not come up, and nobody would say why. A process without files left stands in for
// a computer without instances.
func TestANodeIsNotStartedWithoutWatches(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	one, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	scarce := unix.Rlimit{Cur: uint64(one.Fd()) + 3, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &scarce); err != nil {
		t.Fatal(err)
	}
	err = checkWatches()
	if restored := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); restored != nil {
		t.Fatal(restored)
	}
	if none := (*WatchesError)(nil); !errors.As(err, &none) || !strings.Contains(err.Error(), "fs.inotify.max_user_instances") {
		t.Errorf("got %v", err)
	}
}

// TestMachinesOfAHostedCluster: what a machine is follows from its number, also when its name is somebody else's choice.
func TestMachinesOfAHostedCluster(t *testing.T) {
	fleet := network.Fleet(3)
	r := record{Name: "dev", Owner: "default/dev", Index: 2, Fleet: &fleet}
	for _, name := range []string{"dev-a", "dev-b", "dev-c"} {
		m, err := r.admit(name)
		if err != nil {
			t.Fatal(err)
		}
		r.Members = append(r.Members, m)
	}
	r.Members = append(r.Members[:1], r.Members[2:]...) // dev-b goes
	again, err := r.admit("dev-d")
	if diff := cmp.Diff(member{Number: 2, Node: "dev-d"}, again); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	main := r.place("/d", 0)
	plane := main.spec(main, Binaries{}, machine.Host{})
	if plane.NodePods.IsValid() || plane.Node == "" || plane.Main != nil {
		t.Errorf("the machine of the control plane is a node, or has no namespaces: %+v", plane)
	}
	seen := map[string]bool{}
	for n := range maxPlanes {
		p := r.planePlace("/d", n)
		spec := p.spec(p, Binaries{}, machine.Host{})
		if spec.Address != plane.Address || spec.Main != nil || spec.NodePods.IsValid() || spec.Member == nil || spec.Member.Address != p.network().Address || spec.Member.Address == plane.Address {
			t.Errorf("member %d of the control plane is %+v", n, spec)
		}
		for _, own := range []string{p.dir, p.host(), p.cgroup(), p.network().Path(), spec.Member.Name, spec.Member.Address.String()} {
			if seen[own+"/"] {
				t.Errorf("two members have %s", own)
			}
		}
		for _, own := range []string{p.dir, spec.Member.Name, spec.Member.Address.String()} {
			seen[own+"/"] = true
		}
	}
	third := r.member("/d", r.Members[1])
	spec := third.spec(main, Binaries{}, machine.Host{})
	if spec.Node != "dev-c" || spec.NodePods != netip.MustParsePrefix("10.66.3.0/24") || spec.Main == nil || spec.Main.Address != plane.Address {
		t.Errorf("machine 3 is %+v", spec)
	}
	if third.host() != "dev-3" || third.network().Node != "dev-3" || third.cgroup() != "/umbel3-dev-3" {
		t.Errorf("this computer knows machine 3 as %s, %s and %s", third.host(), third.network().Node, third.cgroup())
	}
	for number := len(r.Members) + 1; number < MaxNodes; number++ {
		m, err := r.admit("more" + strings.Repeat("x", number))
		if err != nil {
			t.Fatal(err)
		}
		r.Members = append(r.Members, m)
	}
	if _, err := r.admit("one-more"); err == nil || !strings.Contains(err.Error(), "31 machines") {
		t.Errorf("a machine too many: got %v", err)
	}
}

// TestAControlPlaneBeginsOnce: also when the cluster's whole folder is lost, with what is remembered there, and a new place is claimed.
func TestAControlPlaneBeginsOnce(t *testing.T) {
	l := newLocal(t)
	fleet := network.Fleet(3)
	fresh := record{Name: "dev", Owner: "default/dev", Index: 1, Fleet: &fleet}
	if err := os.MkdirAll(l.dir("dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.save(fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := l.RaisePlane(t.Context(), Hosted{Name: "dev", Owner: "default/dev", Members: 3, Begun: true}); !errors.Is(err, quorum.ErrNoData) {
		t.Errorf("raised anew: got %v", err)
	}
	if r, err := l.record("dev"); err != nil || !r.Begun || r.Planes != 3 {
		t.Errorf("it is remembered as %+v (%v)", r, err)
	}
	if keys, err := filepath.Glob(filepath.Join(l.dir("dev"), "kube", "*")); err != nil || len(keys) > 0 {
		t.Errorf("it has begun %v (%v)", keys, err)
	}
}

// TestAnothersClusterIsLeftAlone: of two owners of one name the second is refused, and takes nothing away.
func TestAnothersClusterIsLeftAlone(t *testing.T) {
	l := newLocal(t)
	fleet := network.Fleet(3)
	for _, r := range []record{{Name: "dev", Owner: "default/dev", Index: 1, Fleet: &fleet}, {Name: "old", Nodes: 1, Index: 2, Fleet: &fleet}} {
		if err := os.MkdirAll(l.dir(r.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := l.save(r); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"dev": "that of the Cluster default/dev", "old": "`umbel local` made"} {
		h := Hosted{Name: name, Owner: "team/" + name}
		for what, err := range map[string]error{
			"raising a machine": second(l.RaiseMachine(t.Context(), h, "n")), "raising the plane": second(l.RaisePlane(t.Context(), h)),
			"ending the plane": l.EndPlane(t.Context(), h), "ending a machine": l.EndMachine(t.Context(), h, "n"),
		} {
			if !isOwned(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s of %s: got %v", what, name, err)
			}
		}
		if err := l.Release(t.Context(), h); err != nil {
			t.Errorf("releasing %s: %v", name, err)
		}
		if _, err := l.record(name); err != nil {
			t.Errorf("somebody else's release took %s away: %v", name, err)
		}
	}
	none := func(string) func(error) { return func(error) {} }
	for what, err := range map[string]error{
		"create": second(l.Create(t.Context(), Spec{Name: "dev"}, none)), "scale": second(l.Scale(t.Context(), Spec{Name: "dev", Nodes: 2}, none)), "stop": l.Stop(t.Context(), "dev"),
		"delete": l.DeleteOwn(t.Context(), "dev"),
	} {
		if !isOwned(err) {
			t.Errorf("umbel local %s of a hosted cluster: got %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
