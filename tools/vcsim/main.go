// Command umbel-vcsim is the vCenter of tests: govmomi's simulator, whose virtual machines boot where somebody wants them to.
//
// It has one datacenter with a cluster of three hosts, a datastore, a network and a template that machines are cloned from. What happens to a
// machine (it is cloned, powered on or off, or destroyed) is posted to --machines as JSON (Event) while vCenter's task for it goes on; the answer
// says whether the datastore is full, or at which address the guest is (Answer). Credentials are --user and --password; others are refused.
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
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// template is what the machines of tests are cloned from, and datastore where they are.
const template, datastore = "node-template", "LocalDS_0"

// Event is what happens to a machine.
type Event struct {
	// What is cloned, poweredOn, poweredOff or destroyed.
	What string `json:"what"`
	Name string `json:"name"`
	// UUID is that of its BIOS; empty for one that is to be cloned.
	UUID string `json:"uuid"`
	// Guest is what it was given to start with, by guestinfo key.
	Guest map[string]string `json:"guest"`
}

// Answer is what comes of it.
type Answer struct {
	// Address is where a machine that was powered on can be reached.
	Address string `json:"address"`
	// Full says that the datastore has no room for one that is to be cloned.
	Full bool `json:"full"`
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
	tell := teller{url: machines}
	model.Map().Put(&source{VirtualMachine: vm, tell: tell})
	model.Map().AddHandler(&watcher{tell: tell})
	model.Service.TLS = new(tls.Config)
	model.Service.Listen = &url.URL{Host: listen, User: who}
	model.Service.RegisterEndpoints = true
	server := model.Service.NewServer()
	defer server.Close()
	fmt.Printf("a vCenter serves at https://%s\n", server.URL.Host)
	<-ctx.Done()
	return nil
}

// source is the template: it is cloned where there is room.
type source struct {
	*simulator.VirtualMachine
	tell teller
}

// CloneVMTask implements the method of vSphere's API.
func (s *source) CloneVMTask(ctx *simulator.Context, request *types.CloneVM_Task) soap.HasFault {
	answer, err := s.tell.post(Event{What: "cloned", Name: request.Name})
	if err == nil && !answer.Full {
		return s.VirtualMachine.CloneVMTask(ctx, request)
	}
	task := simulator.CreateTask(s, "cloneVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if err != nil {
			return nil, &types.SystemErrorFault{Reason: err.Error()}
		}
		return nil, &types.NoDiskSpace{Datastore: datastore}
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// watcher hears of every change in the inventory.
type watcher struct{ tell teller }

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
		answer, err := w.tell.of(what, vm)
		if err != nil {
			slog.Error("a machine does not boot", "name", vm.Name, "what", what, "err", err)
			continue
		}
		if what == string(types.VirtualMachinePowerStatePoweredOn) {
			show(vm, answer.Address)
		}
	}
}

// RemoveObject implements simulator.RegisterObject.
func (w *watcher) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	if _, err := w.tell.of("destroyed", &vm.VirtualMachine); err != nil {
		slog.Error("a machine is not ended", "name", vm.Name, "err", err)
	}
}

// teller posts what happens to where somebody wants to know.
type teller struct{ url string }

// of posts what happens to a machine that is there.
func (t teller) of(what string, vm *mo.VirtualMachine) (Answer, error) {
	event := Event{What: what, Name: vm.Name, Guest: map[string]string{}}
	if vm.Config != nil {
		event.UUID = vm.Config.Uuid
		for _, one := range vm.Config.ExtraConfig {
			if o := one.GetOptionValue(); o != nil {
				event.Guest[o.Key] = fmt.Sprint(o.Value)
			}
		}
	}
	return t.post(event)
}

func (t teller) post(event Event) (a Answer, err error) {
	raw, err := json.Marshal(event)
	if err != nil {
		return a, err
	}
	client := http.Client{Timeout: 2 * time.Minute}
	response, err := client.Post(t.url, "application/json", bytes.NewReader(raw))
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	raw, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, raw)
	}
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	return a, err
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
