package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const secret = "swordfish"

// center is govmomi's simulator of a vCenter: a datacenter with a host that is alone and a cluster of hosts, machines that can be templates, and a
// datastore.
type center struct {
	*testing.T
	model  *simulator.Model
	server *simulator.Server
}

func newCenter(t *testing.T) *center {
	t.Helper()
	model := simulator.VPX()
	if err := model.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Remove)
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword("somebody", secret)}
	c := &center{t, model, model.Service.NewServer()}
	t.Cleanup(c.server.Close)
	c.store(100 << 30)
	c.disk(20<<30, false)
	return c
}

// question asks for two machines that the vCenter has all for.
func (c *center) question() Question {
	return Question{
		Server: c.server.URL.Host, Username: "somebody", Password: secret, From: "Secret umbel-system/vcenter",
		Machines: []Machines{{
			Number: 2, Template: "DC0_H0_VM0", Datacenter: "DC0", Datastore: "LocalDS_0", Folder: "/DC0/vm", ResourcePool: "/DC0/host/DC0_C0/Resources",
			Networks: []string{"VM Network"}, CloneMode: "fullClone", DiskGiB: 25, NumCPUs: 4, MemoryMiB: 8192,
		}},
	}
}

// store says how much is free in the datastore.
func (c *center) store(free int64) {
	store := c.model.Map().Any("Datastore").(*simulator.Datastore)
	store.Summary.FreeSpace = free
}

func (c *center) template() *simulator.VirtualMachine {
	for _, entity := range c.model.Map().All("VirtualMachine") {
		if vm := entity.(*simulator.VirtualMachine); vm.Name == "DC0_H0_VM0" {
			return vm
		}
	}
	c.Fatal("there is no template")
	return nil
}

// disk gives the template one disk; a thin one has 3 GiB written.
func (c *center) disk(size int64, thin bool) {
	vm := c.template()
	vm.Summary.Storage = &types.VirtualMachineStorageSummary{Committed: 3 << 30}
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			disk.CapacityInKB = size >> 10
			disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo).ThinProvisioned = &thin
			return
		}
	}
	c.Fatal("the template has no disk")
}

// ask runs the program.
func (c *center) ask(q Question) (Answer, error) {
	raw, err := json.Marshal(q)
	if err != nil {
		c.Fatal(err)
	}
	var out bytes.Buffer
	err = run(c.Context(), []string{"check"}, bytes.NewReader(raw), &out)
	if said := fmt.Sprint(out.String(), err); strings.Contains(said, secret) {
		c.Errorf("it says the password: %s", said)
	}
	var a Answer
	if err == nil {
		err = json.Unmarshal(out.Bytes(), &a)
	}
	return a, err
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		reason string
		ask    func(*Question)
		center func(*center)
		want   []string // parts, of each problem
		err    string
	}{
		{reason: "all that the machines are made of is there"},
		{reason: "no machines need nothing", ask: func(q *Question) { q.Machines = nil }},
		{reason: "a password that is wrong", ask: func(q *Question) { q.Password = "wrong" }, want: []string{"refuses somebody: ServerFaultCode: Login failure: change user name or password in Secret umbel-system/vcenter"}},
		{reason: "somebody whom it does not know", ask: func(q *Question) { q.Username = "nobody" }, want: []string{"refuses nobody: "}},
		{reason: "no such datacenter", ask: func(q *Question) { q.Machines[0].Datacenter = "DC9" }, want: []string{`datacenter "DC9": datacenter 'DC9' not found`}},
		{
			reason: "all that is not there is said",
			ask: func(q *Question) {
				m := &q.Machines[0]
				m.Template, m.Folder, m.ResourcePool, m.Networks, m.Datastore = "none", "/DC0/vm/none", "none", []string{"VM Network", "none"}, "none"
			},
			want: []string{
				`template "none": vm 'none' not found, or may not be seen with these credentials: ` + "`govc find /DC0/vm -type m`", `folder "/DC0/vm/none"`, `resourcePool "none"`, `network "none"`, `datastore "none"`,
			},
		},
		{reason: "no name of a pool, where there are several", ask: func(q *Question) { q.Machines[0].ResourcePool = "" }, want: []string{`resourcePool "": default resource pool resolves to multiple`}},
		{reason: "no name of a folder is the one that there is", ask: func(q *Question) { q.Machines[0].Folder = "" }},
		{reason: "without a datastore it is the vCenter's to say", ask: func(q *Question) { q.Machines[0].Datastore = "" }, center: func(c *center) { c.store(0) }},
		{reason: "disks that fit exactly", center: func(c *center) { c.store(50 << 30) }},
		{
			reason: "disks that do not fit", center: func(c *center) { c.store(50<<30 - 1) },
			want: []string{"datastore /DC0/datastore/LocalDS_0 of vCenter", "has 50.0 GiB free, and the disks of 2 machines need 50.0 GiB: free some"},
		},
		{
			reason: "pools are in one datastore together", center: func(c *center) { c.store(60 << 30) }, ask: func(q *Question) { q.Machines = append(q.Machines, q.Machines[0]) },
			want: []string{"the disks of 4 machines need 100.0 GiB"},
		},
		{reason: "a template's own disk is larger", center: func(c *center) { c.disk(40<<30, false); c.store(79 << 30) }, want: []string{"need 80.0 GiB"}},
		{reason: "thin disks begin with what is written", center: func(c *center) { c.disk(20<<30, true); c.store(6 << 30) }},
		{reason: "thin disks without room for that", center: func(c *center) { c.disk(20<<30, true); c.store(5 << 30) }, want: []string{"need 6.0 GiB"}},
		{reason: "the certificate that is expected", center: func(*center) {}, ask: func(q *Question) { q.Thumbprint = "its own" }},
		{reason: "another certificate is no vCenter of ours", ask: func(q *Question) { q.Thumbprint = "AA:BB" }, err: "signing in at vCenter"},
		{reason: "a vCenter that is away is no answer", center: func(c *center) { c.server.Close() }, err: "signing in at vCenter"},
		{reason: "no password", ask: func(q *Question) { q.Password = "" }, err: "no password"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			center := newCenter(t)
			q := center.question()
			if c.ask != nil {
				c.ask(&q)
			}
			if q.Thumbprint == "its own" {
				q.Thumbprint = soap.ThumbprintSHA1(center.server.Certificate())
			}
			if c.center != nil {
				c.center(center)
			}
			got, err := center.ask(q)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want one that says %q", err, c.err)
			}
			said := strings.Join(got.Problems, "\n")
			if len(c.want) == 0 && said != "" {
				t.Errorf("it refuses: %s", said)
			}
			for _, part := range c.want {
				if !strings.Contains(said, part) {
					t.Errorf("%q is not in\n%s", part, said)
				}
			}
			if c.err == "" && len(c.want) == 0 && len(got.Sizes) != len(q.Machines) {
				t.Errorf("of %d kinds of machines it says the sizes %v", len(q.Machines), got.Sizes)
			}
		})
	}
}

func TestNeeds(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		reason string
		m      Machines
		of     template
		want   int64
	}{
		{"a disk as large as is asked for", Machines{DiskGiB: 25}, template{disks: []int64{20 * gib}}, 25 * gib},
		{"and others as they are", Machines{DiskGiB: 25}, template{disks: []int64{20 * gib, 30 * gib}}, 55 * gib},
		{"a link to a snapshot", Machines{CloneMode: "linkedClone"}, template{disks: []int64{20 * gib}, linkable: true}, 0},
		{"a link is what is usual", Machines{}, template{disks: []int64{20 * gib}, linkable: true}, 0},
		{"without a snapshot all is copied", Machines{CloneMode: "linkedClone"}, template{disks: []int64{20 * gib}}, 20 * gib},
		{"all of it, though there is a snapshot", Machines{CloneMode: "fullClone"}, template{disks: []int64{20 * gib}, linkable: true}, 20 * gib},
	} {
		if got := c.m.needs(c.of); got != c.want {
			t.Errorf("%s: got %d, want %d", c.reason, got, c.want)
		}
	}
	for _, c := range []struct{ m, want Size }{{Size{4, 8192}, Size{4, 8192}}, {Size{}, Size{2, 2048}}, {Size{1, 1024}, Size{2, 1024}}} {
		if got := (Machines{NumCPUs: c.m.Cores, MemoryMiB: c.m.MemoryMiB}).size(); got != c.want {
			t.Errorf("machines of %v have %v, want %v", c.m, got, c.want)
		}
	}
}

// TestTemplateOf takes a snapshot, as somebody does who wants linked clones.
func TestTemplateOf(t *testing.T) {
	c := newCenter(t)
	vm := c.template().VirtualMachine
	vm.Snapshot = &types.VirtualMachineSnapshotInfo{CurrentSnapshot: &types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: "snapshot-1"}}
	if diff := cmp.Diff(template{disks: []int64{20 << 30}, written: 3 << 30, linkable: true}, templateOf(vm), cmp.AllowUnexported(template{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := templateOf(mo.VirtualMachine{}); got.linkable || got.thin || got.disks != nil {
		t.Errorf("of a machine that says nothing it says %+v", got)
	}
}

// TestTheQuestionOfUmbel is understood as it is asked: umbel's own test holds the same file against that.
func TestTheQuestionOfUmbel(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "internal", "cli", "cluster", "testdata", "asked-VSphereCluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	var q Question
	if err := decoder.Decode(&q); err != nil {
		t.Fatal(err)
	}
	if q.Password == "" || q.From == "" || len(q.Machines) == 0 || q.Machines[0].Template == "" {
		t.Errorf("it has understood %+v", q)
	}
}

func TestQuestions(t *testing.T) {
	for given, want := range map[string]string{`{`: "reading the question", `{"server":"t","x":"y"}`: `unknown field "x"`, `{}`: "the question has no "} {
		if err := run(t.Context(), []string{"check"}, strings.NewReader(given), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", given, err, want)
		}
	}
	if err := run(t.Context(), []string{"left"}, strings.NewReader(`{}`), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("a command that it has not: %v", err)
	}
}
