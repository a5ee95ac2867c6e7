// Command umbel-vcsim is the vCenter of tests: govmomi's simulator, whose virtual machines boot where somebody wants them to.
//
// It has one datacenter with a cluster of three hosts, a datastore, a network and a template that machines are cloned from. What happens to a
// machine (it is powered on or off, or destroyed) is posted to --machines as JSON (Event) while vCenter's task for it goes on; the answer
// to one that is powered on (Booted) has the address that the guest is to show. Credentials are --user and --password; others are refused.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // tags, which providers sign in for
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// template is what the machines of tests are cloned from.
const template = "node-template"

// Event is what happens to a machine.
type Event struct {
	// What is poweredOn, poweredOff or destroyed.
	What string `json:"what"`
	Name string `json:"name"`
	// UUID is that of its BIOS.
	UUID string `json:"uuid"`
	// Guest is what it was given to start with, by guestinfo key.
	Guest map[string]string `json:"guest"`
}

// Booted is where a machine that was powered on can be reached.
type Booted struct {
	Address string `json:"address"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listen := flag.String("listen", "127.0.0.1:0", "HOST:PORT where it is a vCenter")
	machines := flag.String("machines", "", "URL that is told what happens to machines")
	user := flag.String("user", "administrator@vsphere.local", "who may sign in")
	password := flag.String("password", "", "by which password")
	flag.Parse()
	if err := run(ctx, *listen, *machines, url.UserPassword(*user, *password)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, machines string, who *url.Userinfo) error {
	model := simulator.VPX()
	defer model.Remove()
	model.Host, model.Machine, model.Autostart = 0, 1, false
	if err := model.Create(); err != nil {
		return fmt.Errorf("making the inventory: %w", err)
	}
	vm, ok := model.Map().Any("VirtualMachine").(*simulator.VirtualMachine)
	if !ok {
		return fmt.Errorf("the inventory has no machine to be the template")
	}
	model.Map().Update(model.Service.Context, vm, []types.PropertyChange{
		{Name: "name", Val: template}, {Name: "config.name", Val: template}, {Name: "summary.config.name", Val: template}, {Name: "config.template", Val: true},
	})
	model.Map().AddHandler(&watcher{url: machines})
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: listen, User: who}
	model.Service.RegisterEndpoints = true
	server := model.Service.NewServer()
	defer server.Close()
	fmt.Printf("a vCenter serves at https://%s\n", server.URL.Host)
	<-ctx.Done()
	return nil
}

// watcher hears of every change in the inventory.
type watcher struct{ url string }

// Reference implements mo.Reference.
func (w *watcher) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Watcher", Value: "watcher"}
}

// PutObject implements simulator.RegisterObject: a machine that is there does not run yet.
func (w *watcher) PutObject(*simulator.Context, mo.Reference) {}

// UpdateObject implements simulator.RegisterObject. Whoever powers a machine on has it locked meanwhile.
func (w *watcher) UpdateObject(_ *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	vm, ok := object.(*mo.VirtualMachine)
	if !ok {
		return
	}
	for _, change := range changes {
		if change.Name != "runtime.powerState" {
			continue
		}
		what := fmt.Sprint(change.Val)
		booted, err := w.tell(what, vm)
		if err != nil {
			slog.Error("a machine does not boot", "name", vm.Name, "what", what, "err", err)
			continue
		}
		if what == string(types.VirtualMachinePowerStatePoweredOn) {
			show(vm, booted.Address)
		}
	}
}

// RemoveObject implements simulator.RegisterObject.
func (w *watcher) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	if _, err := w.tell("destroyed", &vm.VirtualMachine); err != nil {
		slog.Error("a machine is not ended", "name", vm.Name, "err", err)
	}
}

// tell posts what happens to a machine.
func (w *watcher) tell(what string, vm *mo.VirtualMachine) (b Booted, err error) {
	event := Event{What: what, Name: vm.Name, Guest: map[string]string{}}
	if vm.Config != nil {
		event.UUID = vm.Config.Uuid
		for _, one := range vm.Config.ExtraConfig {
			if o := one.GetOptionValue(); o != nil {
				event.Guest[o.Key] = fmt.Sprint(o.Value)
			}
		}
	}
	raw, err := json.Marshal(event)
	if err != nil {
		return b, err
	}
	client := http.Client{Timeout: 2 * time.Minute}
	response, err := client.Post(w.url, "application/json", bytes.NewReader(raw))
	if err != nil {
		return b, err
	}
	defer response.Body.Close()
	raw, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, raw)
	}
	if err == nil {
		err = json.Unmarshal(raw, &b)
	}
	return b, err
}

// show has the guest's tools say at which address it is.
func show(vm *mo.VirtualMachine, address string) {
	if vm.Guest == nil {
		vm.Guest = &types.GuestInfo{}
	}
	vm.Guest.HostName, vm.Guest.IpAddress = vm.Name, address
	for _, device := range vm.Config.Hardware.Device {
		card, ok := device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		nic := card.GetVirtualEthernetCard()
		vm.Guest.Net = []types.GuestNicInfo{{
			Network: "VM Network", IpAddress: []string{address}, MacAddress: nic.MacAddress, Connected: true, DeviceConfigId: nic.Key,
		}}
	}
}
