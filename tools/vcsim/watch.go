package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Event is what happens to a machine.
type Event struct {
	// What is cloned, powering-on, poweredOn, poweredOff, lost (its host has failed) or destroyed.
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
	// Refused says that one is not powered on.
	Refused bool `json:"refused"`
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
