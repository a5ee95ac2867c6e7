package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// check says what the vCenter would refuse. That it does not let somebody in is what it would refuse too.
func check(ctx context.Context, q Question) (Answer, error) {
	for field, value := range map[string]string{"server": q.Server, "username": q.Username, "password": q.Password} {
		if value == "" {
			return Answer{}, fmt.Errorf("the question has no %s", field)
		}
	}
	client, err := signIn(ctx, q)
	if said := refusal(err); said != "" {
		return Answer{Problems: []string{fmt.Sprintf("vCenter %s refuses %s: %s: change user name or password in %s", q.Server, q.Username, said, q.From)}}, nil
	}
	if err != nil {
		return Answer{}, fmt.Errorf("signing in at vCenter %s: %w", q.Server, err)
	}
	defer func() { _ = client.Logout(context.WithoutCancel(ctx)) }() // the session ends by itself later
	l := look{server: q.Server, client: client.Client, stores: map[string]*room{}}
	var a Answer
	for _, m := range q.Machines {
		if err := l.machines(ctx, m); err != nil {
			return Answer{}, err
		}
		a.Sizes = append(a.Sizes, m.size())
	}
	a.Problems = append(l.problems, full(q.Server, l.stores)...)
	return a, nil
}

func signIn(ctx context.Context, q Question) (*govmomi.Client, error) {
	at, err := soap.ParseURL(q.Server)
	if err != nil {
		return nil, err
	}
	at.User = nil
	caller := soap.NewClient(at, q.Thumbprint == "")
	if q.Thumbprint != "" {
		caller.SetThumbprint(at.Host, q.Thumbprint)
	}
	client, err := vim25.NewClient(ctx, caller)
	if err != nil {
		return nil, err
	}
	c := &govmomi.Client{Client: client, SessionManager: session.NewManager(client)}
	return c, c.Login(ctx, url.UserPassword(q.Username, q.Password))
}

// refusal returns what a vCenter says to whoever may not come in; empty when that is not what went wrong.
func refusal(err error) string {
	if fault.Is(err, &types.InvalidLogin{}) || fault.Is(err, &types.NoPermission{}) {
		return err.Error()
	}
	return ""
}

// look is a search of an inventory.
type look struct {
	server   string
	client   *vim25.Client
	problems []string
	// stores are the datastores that machines are to be in, by their paths.
	stores map[string]*room
}

// machines looks for all that some machines are made of.
func (l *look) machines(ctx context.Context, m Machines) error {
	finder := find.NewFinder(l.client)
	center, err := search(ctx, l, thing{"datacenter", m.Datacenter, "`govc ls /`"}, finder.DatacenterOrDefault)
	if err != nil || center == nil {
		return err
	}
	finder.SetDatacenter(center)
	in := center.InventoryPath
	vm, err := search(ctx, l, thing{"template", m.Template, "`govc find " + in + "/vm -type m`"}, finder.VirtualMachine)
	if err != nil {
		return err
	}
	if _, err := search(ctx, l, thing{"folder", m.Folder, "`govc find " + in + "/vm -type f`"}, finder.FolderOrDefault); err != nil {
		return err
	}
	if _, err := search(ctx, l, thing{"resourcePool", m.ResourcePool, "`govc find " + in + "/host -type p`"}, finder.ResourcePoolOrDefault); err != nil {
		return err
	}
	for _, name := range m.Networks {
		_, err := search(ctx, l, thing{"network", name, "`govc ls " + in + "/network`"}, func(ctx context.Context, name string) (*object.NetworkReference, error) {
			network, err := finder.Network(ctx, name)
			return &network, err
		})
		if err != nil {
			return err
		}
	}
	if m.Datastore == "" {
		return nil
	}
	store, err := search(ctx, l, thing{"datastore", m.Datastore, "`govc ls " + in + "/datastore`"}, finder.Datastore)
	if err != nil || store == nil || vm == nil {
		return err
	}
	return l.weigh(ctx, m, vm, store)
}

// thing is what is looked for: by which field of a VSphereMachineTemplate, the name there, and what lists those that there are.
type thing struct{ field, name, listed string }

// search looks for a thing. One that is not there, or of which there are several, is nil, and a problem.
func search[T any](ctx context.Context, l *look, of thing, find func(context.Context, string) (*T, error)) (*T, error) {
	found, err := find(ctx, of.name)
	switch {
	case err == nil:
		return found, nil
	case ambiguous(err):
		l.problems = append(l.problems, fmt.Sprintf("vCenter %s, %s %q: %v, or may not be seen with these credentials: %s lists what there is", l.server, of.field, of.name, err, of.listed))
		return nil, nil
	}
	return nil, fmt.Errorf("looking for %s %q in vCenter %s: %w", of.field, of.name, l.server, err)
}

// ambiguous says that a name is that of nothing, or of several things.
func ambiguous(err error) bool {
	var none *find.NotFoundError
	var many *find.MultipleFoundError
	var noDefault *find.DefaultNotFoundError
	var manyDefaults *find.DefaultMultipleFoundError
	return errors.As(err, &none) || errors.As(err, &many) || errors.As(err, &noDefault) || errors.As(err, &manyDefaults)
}

// weigh adds the disks of machines to what their datastore is to take.
func (l *look) weigh(ctx context.Context, m Machines, vm *object.VirtualMachine, store *object.Datastore) error {
	var of mo.VirtualMachine
	if err := vm.Properties(ctx, vm.Reference(), []string{"config.hardware.device", "summary.storage", "snapshot"}, &of); err != nil {
		return fmt.Errorf("reading template %q of vCenter %s: %w", m.Template, l.server, err)
	}
	var has mo.Datastore
	if err := store.Properties(ctx, store.Reference(), []string{"summary"}, &has); err != nil {
		return fmt.Errorf("reading datastore %q of vCenter %s: %w", m.Datastore, l.server, err)
	}
	r := l.stores[store.InventoryPath]
	if r == nil {
		r = &room{free: has.Summary.FreeSpace}
		l.stores[store.InventoryPath] = r
	}
	r.machines += m.Number
	r.needed += m.Number * m.needs(templateOf(of))
	return nil
}

func templateOf(vm mo.VirtualMachine) template {
	t := template{linkable: vm.Snapshot != nil && vm.Snapshot.CurrentSnapshot != nil}
	if vm.Summary.Storage != nil {
		t.written = vm.Summary.Storage.Committed
	}
	if vm.Config == nil {
		return t
	}
	for _, device := range vm.Config.Hardware.Device {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		if backing, flat := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); flat && len(t.disks) == 0 {
			t.thin = backing.ThinProvisioned != nil && *backing.ThinProvisioned
		}
		t.disks = append(t.disks, disk.CapacityInKB<<10)
	}
	return t
}
