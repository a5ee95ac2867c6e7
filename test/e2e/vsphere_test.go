//go:build e2e && vsphere

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/internal/lifecycle/vcentertest"
	"umbel.dev/umbel/test/rig"
)

// TestClustersInVSphere is the runbook docs/operate/vsphere.md, with govmomi's simulator for the vCenter: Cluster API's provider for vSphere,
// unchanged, clones a machine and powers it on, a real kubelet boots for it on this computer, the cluster joins, and a pod runs there.
// Credentials that are wrong, a vCenter that is away and a datastore that is full are said to be so, harm nothing that is there, and when
// they are no more the cluster grows. When it is deleted neither the vCenter nor this computer has anything of it.
func TestClustersInVSphere(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	page := runbook(t, "vsphere.md")
	center := vcentertest.Start(t, inVSphere{newComputer(s, "far")})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("of its machines the vCenter said\n%s", strings.Join(center.Heard(), "\n"))
		}
	})
	s.shell(line(page, "provider add local"))
	s.shell(strings.ReplaceAll(line(page, "provider add vsphere"), "build/bin/", filepath.Dir(rig.Binary("umbel"))+"/"))
	s.advances("the providers serve", func(ctx context.Context) error { return s.serve(ctx, 3, time.Time{}) })
	s.onHub("-n umbel-system create secret generic vcenter --from-literal=username=" + center.User + " --from-literal=password=wrong")
	s.onHub("apply -f " + s.classIn("vsphere", "vcenter.example.com", center.Address))

	made := s.orders(line(page, "cluster create far"))
	s.treeSays("far", "VSphereCluster", "Login failure")
	begun := time.Now()
	s.onHub("-n umbel-system patch secret vcenter --type=merge -p " + `'{"stringData":{"password":"` + center.Password + `"}}'`)
	s.isMade("far", made)
	t.Logf("with the right credentials the cluster was made in %s", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 1, machinesOf(center))
	s.runsAPod("far", "first")
	if out := s.umbel("get", "clusters", "-o", "wide"); !strings.Contains(out, "env=far") {
		t.Errorf("the fleet is\n%s", out)
	}

	center.Cut()
	grown := s.orders(line(page, "cluster scale far"))
	s.treeSays("far", "VSphereCluster", "connection refused")
	s.treeSays("far", "─ Machine", "Provisioning ") // that is all which its provider says of it
	s.runsAPod("far", "meanwhile")
	begun = time.Now()
	if err := center.Mend(); err != nil {
		t.Fatal(err)
	}
	s.isMade("far", grown)
	t.Logf("after the vCenter was back it took %s to grow", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 2, machinesOf(center))

	center.Fill()
	grown = s.orders("umbel cluster scale far --workers 3")
	s.treeSays("far", "VSphereMachine", "NoDiskSpace")
	begun = time.Now()
	center.Empty()
	s.isMade("far", grown)
	t.Logf("after the datastore had room it took %s to grow", time.Since(begun).Round(100*time.Millisecond))
	s.nodesAre("far", 3, machinesOf(center))
	s.umbel("kubectl", "far", "--", "get", "pod/first", "pod/meanwhile")

	begun = time.Now()
	s.shell(line(page, "cluster delete far"))
	t.Logf("ended in %s", time.Since(begun).Round(100*time.Millisecond))
	if left := center.Running(); len(left) > 0 {
		t.Errorf("machines of the vCenter are left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(s.Home, "local", "far")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its folder is there (%v)", err)
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
