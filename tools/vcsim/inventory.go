package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// template is what the machines of tests are cloned from.
const template = "node-template"

// Inventory is what a vCenter lists.
type Inventory struct {
	// Things are all that it has, a line each: its kind and path; and the folders of its datastores. They are sorted.
	Things   []string  `json:"things"`
	Machines []Machine `json:"machines"`
}

// Machine is where a machine is: paths in the inventory.
type Machine struct {
	Path string `json:"path"`
	Host string `json:"host"`
	Pool string `json:"pool"`
	// Datastore is the one of its configuration.
	Datastore string `json:"datastore"`
	// State is that of its power.
	State string `json:"state"`
}

// center is the vCenter, as its owner has it.
type center struct {
	model *simulator.Model
	url   *url.URL
	tell  teller
}

// layOut makes the inventory of what the simulator has by itself: a datacenter DC0 with the clusters DC0_C0 and DC0_C1 of two hosts each, a
// resource pool in each (DC0_C0_RP1), and the datastores LocalDS_0 and LocalDS_1, which all hosts see. There come folders for the machines of
// two zones, tags that say which cluster is which zone, and a template; another machine is somebody else's.
func (c *center) layOut(ctx context.Context) error {
	client, err := govmomi.NewClient(ctx, c.url, true)
	if err != nil {
		return err
	}
	defer func() { _ = client.Logout(ctx) }() // it would end with the program
	finder := find.NewFinder(client.Client)
	vm, err := finder.VirtualMachine(ctx, "/DC0/vm/DC0_C0_RP1_VM0")
	if err != nil {
		return err
	}
	machine, ok := c.model.Map().Get(vm.Reference()).(*simulator.VirtualMachine)
	if !ok {
		return fmt.Errorf("%s is no machine", vm.Reference())
	}
	c.model.Map().Update(c.model.Service.Context, machine, []types.PropertyChange{
		{Name: "name", Val: template}, {Name: "config.name", Val: template}, {Name: "summary.config.name", Val: template}, {Name: "config.template", Val: true},
	})
	folder, err := finder.Folder(ctx, "/DC0/vm")
	if err != nil {
		return err
	}
	for _, name := range []string{"east", "west"} {
		if _, err := folder.CreateFolder(ctx, name); err != nil {
			return err
		}
	}
	return c.tag(ctx, client, finder, []tagged{{"region", "here", "/DC0"}, {"zone", "east", "/DC0/host/DC0_C0"}, {"zone", "west", "/DC0/host/DC0_C1"}})
}

// tagged is a thing of the inventory, and its tag.
type tagged struct{ category, tag, path string }

func (c *center) tag(ctx context.Context, client *govmomi.Client, finder *find.Finder, all []tagged) error {
	session := rest.NewClient(client.Client)
	if err := session.Login(ctx, c.url.User); err != nil {
		return err
	}
	defer func() { _ = session.Logout(ctx) }() // it would end with the program
	manager := tags.NewManager(session)
	for _, one := range all {
		category, err := manager.GetCategory(ctx, one.category)
		if err != nil {
			if _, err = manager.CreateCategory(ctx, &tags.Category{Name: one.category, Cardinality: "SINGLE"}); err != nil {
				return err
			}
			if category, err = manager.GetCategory(ctx, one.category); err != nil {
				return err
			}
		}
		id, err := manager.CreateTag(ctx, &tags.Tag{Name: one.tag, CategoryID: category.ID})
		if err != nil {
			return err
		}
		things, err := finder.ManagedObjectList(ctx, one.path)
		if err != nil {
			return err
		}
		if len(things) != 1 {
			return fmt.Errorf("%s is %d things", one.path, len(things))
		}
		if err := manager.AttachTag(ctx, id, things[0].Object); err != nil {
			return err
		}
	}
	return nil
}

// list answers what there is.
func (c *center) list(w http.ResponseWriter, r *http.Request) {
	inventory, err := c.inventory(r.Context())
	if err == nil {
		err = json.NewEncoder(w).Encode(inventory)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// inventory asks the vCenter, as any client would.
func (c *center) inventory(ctx context.Context) (Inventory, error) {
	var all Inventory
	client, err := govmomi.NewClient(ctx, c.url, true)
	if err != nil {
		return all, err
	}
	defer func() { _ = client.Logout(ctx) }() // an hour later it would have ended by itself
	everything, err := view.NewManager(client.Client).CreateContainerView(ctx, client.ServiceContent.RootFolder, nil, true)
	if err != nil {
		return all, err
	}
	defer func() { _ = everything.Destroy(ctx) }()
	var entities []mo.ManagedEntity
	if err := everything.Retrieve(ctx, nil, []string{"name"}, &entities); err != nil {
		return all, err
	}
	paths := map[types.ManagedObjectReference]string{}
	for _, e := range entities {
		if paths[e.Self], err = find.InventoryPath(ctx, client.Client, e.Self); err != nil {
			return all, err
		}
		all.Things = append(all.Things, e.Self.Type+" "+paths[e.Self])
	}
	var machines []mo.VirtualMachine
	if err := everything.Retrieve(ctx, []string{"VirtualMachine"}, []string{"runtime", "resourcePool", "config.files"}, &machines); err != nil {
		return all, err
	}
	for _, m := range machines {
		one := Machine{Path: paths[m.Self], Host: paths[*m.Runtime.Host], State: string(m.Runtime.PowerState)}
		if m.ResourcePool != nil {
			one.Pool = paths[*m.ResourcePool]
		}
		var file object.DatastorePath
		if file.FromString(m.Config.Files.VmPathName) {
			one.Datastore = file.Datastore
		}
		all.Machines = append(all.Machines, one)
	}
	var stores []mo.Datastore
	if err := everything.Retrieve(ctx, []string{"Datastore"}, []string{"name", "info"}, &stores); err != nil {
		return all, err
	}
	for _, store := range stores {
		files, err := os.ReadDir(store.Info.GetDatastoreInfo().Url) // a folder of this computer
		if err != nil {
			return all, err
		}
		for _, file := range files {
			all.Things = append(all.Things, fmt.Sprintf("[%s] %s", store.Name, file.Name()))
		}
	}
	slices.Sort(all.Things)
	slices.SortFunc(all.Machines, func(a, b Machine) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// host has a host fail with its machines, or brings it back without them: they are powered off then.
func (c *center) host(w http.ResponseWriter, r *http.Request) {
	name, state := r.URL.Query().Get("name"), types.HostSystemConnectionState(r.URL.Query().Get("state"))
	for _, entity := range c.model.Map().All("HostSystem") {
		host, ok := entity.(*simulator.HostSystem)
		if !ok || host.Name != name {
			continue
		}
		ctx := c.model.Service.Context
		c.model.Map().AtomicUpdate(ctx, host, []types.PropertyChange{{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state}})
		for _, ref := range slices.Clone(host.Vm) {
			vm, ok := c.model.Map().Get(ref).(*simulator.VirtualMachine)
			if !ok {
				continue
			}
			if err := c.follows(ctx, vm, state); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		return
	}
	http.Error(w, fmt.Sprintf("there is no host %q", name), http.StatusNotFound)
}

// follows has a machine share the fate of its host.
func (c *center) follows(ctx *simulator.Context, vm *simulator.VirtualMachine, host types.HostSystemConnectionState) error {
	if host == types.HostSystemConnectionStateConnected {
		changes := []types.PropertyChange{{Name: "runtime.connectionState", Val: types.VirtualMachineConnectionStateConnected}}
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			changes = append(changes, types.PropertyChange{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
				types.PropertyChange{Name: "summary.runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff})
		}
		c.model.Map().AtomicUpdate(ctx, vm, changes)
		return nil
	}
	c.model.Map().AtomicUpdate(ctx, vm, []types.PropertyChange{{Name: "runtime.connectionState", Val: types.VirtualMachineConnectionStateDisconnected}})
	_, err := c.tell.of("lost", &vm.VirtualMachine)
	return err
}
