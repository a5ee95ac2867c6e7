//go:build e2e && vsphere

package e2e

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/vcentertest"
	"umbel.dev/umbel/test/rig"
)

// TestClustersInVSphere is the runbook docs/operate/vsphere.md, with govmomi's simulator for the vCenter: Cluster API's provider for vSphere,
// unchanged, clones a machine in each of two zones and powers it on, a real kubelet boots for it on this computer, the cluster joins with what
// Cluster API brings into it, and a pod runs there. Credentials that are wrong are refused before anything is made. They, a vCenter that is away (for
// as long as VCENTER_AWAY says), a datastore that is full and a power-on that is refused are said to be so when the provider meets them, harm nothing
// that is there, and when they are no more the cluster grows. So it does beside a machine whose host has failed, which is replaced when the host is
// back. When the cluster is deleted the vCenter has what it had before, and this computer nothing of it.
func TestClustersInVSphere(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	away, err := time.ParseDuration(cmp.Or(os.Getenv("VCENTER_AWAY"), "0s"))
	if err != nil {
		t.Fatalf("VCENTER_AWAY: %v", err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "vsphere.md")
	center := vcentertest.Start(t, inVSphere{newComputer(s, "far")})
	before := s.inventory(center)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("of its machines the vCenter said\n%s", strings.Join(center.Heard(), "\n"))
		}
	})
	s.shell(line(page, "provider add local"))
	s.shell(line(page, "provider add vsphere"))
	s.advances("the providers serve", func(ctx context.Context) error { return s.serve(ctx, 3, time.Time{}) })
	s.isSetUp(center, page)
	s.ordersWith(center, line(page, "cluster create far"))
	s.umbel("kubectl", "far", "--", "-n", "kube-system", "get", "configmap/cni", "configmap/cloud-provider")
	s.nodesAre("far", 2, machinesOf(center))
	s.areIn(center, before, "east", "west")
	s.runsAPod("far", "first")
	if out := s.umbel("get", "clusters", "-o", "wide"); !strings.Contains(out, "env=far") {
		t.Errorf("the fleet is\n%s", out)
	}

	s.losesVCenter(center, line(page, "cluster scale far"), away)
	s.nodesAre("far", 3, machinesOf(center))
	s.hasNoRoom(center, line(page, "cluster pool add far"))
	s.nodesAre("far", 4, machinesOf(center))
	s.areIn(center, before, "east", "east", "west", "west")
	s.umbel("kubectl", "far", "--", "get", "pod/first", "pod/meanwhile", "pod/later")
	s.losesHost(center, before)

	begun := time.Now()
	s.shell(line(page, "cluster delete far"))
	t.Logf("ended in %s", time.Since(begun).Round(100*time.Millisecond))
	if left := center.Running(); len(left) > 0 {
		t.Errorf("machines of the vCenter are left: %v", left)
	}
	if diff := gocmp.Diff(before, s.inventory(center)); diff != "" {
		t.Errorf("the vCenter has not what it had before (-before +after):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(s.Home, "local", "far")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is there (%v)", err)
	}
}

// isSetUp tells the hub where the vCenter is, with a password that is wrong, and what clusters there are to have before their first pod runs: a
// ConfigMap in the place of the CNI plugin, and of the cloud provider.
func (s *story) isSetUp(center *vcentertest.VCenter, page []string) {
	s.Helper()
	dir := s.TempDir()
	for _, name := range []string{"cni", "cloud-provider"} {
		manifest := "{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + ", namespace: kube-system}}"
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(manifest), 0o600); err != nil {
			s.Fatal(err)
		}
	}
	class := s.exampleIn("vsphere/class.yaml", "vcenter.example.com", center.Address, "timeoutSeconds: 120", "timeoutSeconds: 20")
	here := strings.NewReplacer("~/.umbel", s.Home, "=NAME", "="+center.User, "=PASSWORD", "=wrong", "examples/vsphere/class.yaml", class,
		"examples/", rig.Root()+"/examples/", "=cni.yaml", "="+dir+"/cni.yaml", "=cloud-provider.yaml", "="+dir+"/cloud-provider.yaml")
	s.shell(here.Replace(line(page, "create secret generic vcenter")))
	s.shell(here.Replace(line(page, "create configmap network")))
	s.shell(here.Replace(line(page, "create secret generic cloud-provider")))
	for _, file := range []string{"class.yaml", "network.yaml"} {
		s.eventually("there is what "+file+" says", func(ctx context.Context) error { // webhooks may take a moment
			_, err := s.Shell(ctx, here.Replace(line(page, "apply -f examples/vsphere/"+file)))
			return err
		})
	}
}

// ordersWith orders a cluster with a password that is wrong, which is refused; with the right one it would be made. When the vCenter is away nobody can
// ask it, and the password becomes wrong again: so its provider meets that, and gets the right one.
func (s *story) ordersWith(center *vcentertest.VCenter, create string) {
	s.Helper()
	password := func(value string) {
		s.onHub("-n umbel-system patch secret vcenter --type=merge -p " + `'{"stringData":{"password":"` + value + `"}}'`)
	}
	s.refused(strings.Fields(create)[1:], `cluster "far" cannot be made: vCenter `+center.Address+" refuses "+center.User+": ServerFaultCode: Login failure",
		"change user name or password in Secret umbel-system/vcenter")
	s.refused([]string{"cluster", "describe", "far"}, `the hub makes no cluster "far"`)
	password(center.Password)
	const notAsked = "vSphere was not asked whether it would take the machines: "
	if said := s.shell(create + " --dry-run 2>&1"); strings.Contains(said, notAsked) || !strings.Contains(said, "kind: Cluster") {
		s.Errorf("with the right password it is said\n%s", said)
	}
	center.Cut()
	if said := s.shell(create + " --dry-run 2>&1"); !strings.Contains(said, notAsked+"umbel-vsphere: signing in at vCenter "+center.Address) || !strings.Contains(said, "connection refused") {
		s.Errorf("with a vCenter that is away it is said\n%s", said)
	}
	password("wrong")
	made := s.orders(create + " --timeout 10m")
	s.treeSays("far", "VSphereCluster", "connection refused")
	if err := center.Mend(); err != nil {
		s.Fatal(err)
	}
	s.treeSays("far", "VSphereCluster", "Login failure")
	begun := time.Now()
	password(center.Password)
	s.isMade("far", made)
	s.Logf("with the right credentials the cluster was made in %s", time.Since(begun).Round(100*time.Millisecond))
}

// losesVCenter has the vCenter be away while a machine more is asked for: what is there runs on, and that one comes when it is back.
func (s *story) losesVCenter(center *vcentertest.VCenter, scale string, away time.Duration) {
	s.Helper()
	kept := machinesOf(center)
	center.Cut()
	left := time.After(away)
	grown := s.orders(scale + " --timeout 40m")
	s.treeSays("far", "VSphereCluster", "connection refused")
	s.treeSays("far", "─ Machine", "Provisioning ") // that is all which its provider says of it
	s.runsAPod("far", "meanwhile")
	select {
	case <-left:
	case <-s.ctx.Done():
	}
	s.runsAPod("far", "later")
	s.nodesAre("far", 2, machinesOf(center))
	if diff := gocmp.Diff(kept, machinesOf(center)); diff != "" {
		s.Errorf("while the vCenter was away machines became others (-before +after):\n%s", diff)
	}
	begun := time.Now()
	if err := center.Mend(); err != nil {
		s.Fatal(err)
	}
	s.isMade("far", grown)
	s.Logf("after the vCenter was back, which was away for %s, it took %s to grow", away, time.Since(begun).Round(100*time.Millisecond))
}

// hasNoRoom has the datastores be full while a pool more is asked for, and no host take its machine when they are not.
func (s *story) hasNoRoom(center *vcentertest.VCenter, add string) {
	s.Helper()
	center.Fill()
	grown := s.orders(add + " --timeout 10m")
	s.treeSays("far", "VSphereMachine", "NoDiskSpace")
	begun := time.Now()
	center.Refuse()
	center.Empty()
	s.treeSays("far", "VSphereMachine", "NoCompatibleHost")
	s.Logf("after the datastore had room it took %s to clone", time.Since(begun).Round(100*time.Millisecond))
	begun = time.Now()
	center.Allow()
	s.isMade("far", grown)
	s.Logf("after machines were powered on again it took %s to grow", time.Since(begun).Round(100*time.Millisecond))
}

// losesHost has the host of a machine fail. What is asked for beside the machine comes, in its zone; the machine is taken away, and another one takes its
// place, when the host is back: until then nobody can end it.
func (s *story) losesHost(center *vcentertest.VCenter, before vcentertest.Inventory) {
	s.Helper()
	all := s.made(center, before)
	lost := all[len(all)-1] // of the pool west
	begun := time.Now()
	if err := center.Fail(s.ctx, path.Base(lost.Host)); err != nil {
		s.Fatal(err)
	}
	if left := machinesOf(center); len(left) != len(all)-1 {
		s.Fatalf("with %s there run %v of %v: one was to be lost", lost.Host, left, all)
	}
	s.treeSays("far", "─ Machine", "another one takes its place")
	s.treeSays("far", "Machine", "last task failed") // its provider asks again and again
	s.Logf("that its machine is lost was said %s after %s had failed", time.Since(begun).Round(100*time.Millisecond), lost.Host)
	grown := s.orders("umbel cluster scale far --pool west --workers 2 --timeout 20m")
	s.advances("as many machines run as before", func(ctx context.Context) error {
		if running := machinesOf(center); len(running) != len(all) {
			return fmt.Errorf("%v run", running)
		}
		return s.ready(ctx, "far", machinesOf(center))
	})
	begun = time.Now()
	if err := center.Return(s.ctx, path.Base(lost.Host)); err != nil {
		s.Fatal(err)
	}
	s.isMade("far", grown)
	s.Logf("after the host was back it took %s to replace it", time.Since(begun).Round(100*time.Millisecond))
	s.advances("the lost machine is destroyed", func(context.Context) error { // the one in its place need not wait for that
		if slices.ContainsFunc(s.made(center, before), func(m vcentertest.Placed) bool { return m.Path == lost.Path }) {
			return fmt.Errorf("%s is there", lost.Path)
		}
		return nil
	})
	s.nodesAre("far", len(all)+1, machinesOf(center))
	s.areIn(center, before, "east", "east", "west", "west", "west")
}

func (s *story) inventory(center *vcentertest.VCenter) vcentertest.Inventory {
	s.Helper()
	all, err := center.Inventory(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	return all
}

// made are the machines that a vCenter has and did not have before, by its own list.
func (s *story) made(center *vcentertest.VCenter, before vcentertest.Inventory) []vcentertest.Placed {
	s.Helper()
	return slices.DeleteFunc(s.inventory(center).Machines, func(m vcentertest.Placed) bool {
		return slices.ContainsFunc(before.Machines, func(other vcentertest.Placed) bool { return other.Path == m.Path })
	})
}

// areIn checks that these are the zones of the machines of the story, with the host, resource pool, folder and datastore that the class says.
func (s *story) areIn(center *vcentertest.VCenter, before vcentertest.Inventory, zones ...string) {
	s.Helper()
	var want, got []string
	for _, zone := range zones {
		number := map[string]string{"east": "0", "west": "1"}[zone]
		want = append(want, fmt.Sprintf("/DC0/vm/%s /DC0/host/DC0_C%[2]s /DC0/host/DC0_C%[2]s/Resources/DC0_C%[2]s_RP1 LocalDS_%[2]s poweredOn", zone, number))
	}
	for _, m := range s.made(center, before) {
		got = append(got, fmt.Sprint(path.Dir(m.Path), " ", path.Dir(m.Host), " ", m.Pool, " ", m.Datastore, " ", m.State))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		s.Errorf("machines of the vCenter (-want +got):\n%s", diff)
	}
}

// machinesOf are the ids of the machines that run in a vCenter.
func machinesOf(center *vcentertest.VCenter) []string {
	var ids []string
	for _, m := range center.Running() {
		ids = append(ids, "vsphere://"+m.UUID)
	}
	return ids
}

// inVSphere is the computer of the machines of a vCenter.
type inVSphere struct{ *computer }

// Boot implements vcentertest.Computer.
func (c inVSphere) Boot(ctx context.Context, m vcentertest.Machine) (string, error) {
	given, err := userData(m.Guest)
	if err != nil {
		return "", err
	}
	return c.raise(ctx, m.Name, "vsphere://"+m.UUID, given)
}

// End implements vcentertest.Computer.
func (c inVSphere) End(ctx context.Context, m vcentertest.Machine) error {
	return c.end(ctx, m.Name, "vsphere://"+m.UUID)
}

// userData returns what cloud-init would find in the machine.
func userData(guest map[string]string) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(guest["guestinfo.userdata"])
	if err != nil || len(raw) == 0 {
		return "", fmt.Errorf("it has no user data (%v)", err)
	}
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return string(raw), nil
	}
	plain, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return "", err
	}
	raw, err = io.ReadAll(plain)
	return string(raw), err
}
