package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// calls answers the calls of vSphere's API in which the simulator is more forgiving than a vCenter.
type calls struct{ tell teller }

// take is a simulator.Registry's Handler: it returns who answers a call, nil for the object that is called. What the caller's session has itself
// under the name of that goes before both, so it is put there.
func (c calls) take(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	vm, ok := ctx.Map.Get(method.This).(*simulator.VirtualMachine)
	if !ok || ctx.Session == nil {
		return nil, nil
	}
	if host, ok := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok && !responds(host) {
		return ctx.Session.Put(&lost{vm}), nil
	}
	return ctx.Session.Put(&machine{vm, c.tell}), nil
}

// responds says whether a vCenter hears of a host.
func responds(host *simulator.HostSystem) bool {
	return host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected
}

// machine is cloned where there is room, on a host of the cluster that its resource pool is of, and is powered on unless that is refused.
type machine struct {
	*simulator.VirtualMachine
	tell teller
}

// CloneVMTask implements the method of vSphere's API. The simulator would leave a clone on its template's host, whatever cluster that is of.
func (m *machine) CloneVMTask(ctx *simulator.Context, request *types.CloneVM_Task) soap.HasFault {
	answer, err := m.tell.post(Event{What: "cloned", Name: request.Name})
	host := hostFor(ctx, request.Spec.Location)
	switch {
	case err != nil:
		return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: fails(ctx, m, "cloneVm", &types.SystemErrorFault{Reason: err.Error()})}}
	case answer.Full:
		return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: fails(ctx, m, "cloneVm", &types.NoDiskSpace{Datastore: storeOf(ctx, request.Spec.Location)})}}
	case host == nil:
		return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: fails(ctx, m, "cloneVm", &types.NoCompatibleHost{})}}
	}
	request.Spec.Location.Host = host
	return m.VirtualMachine.CloneVMTask(ctx, request)
}

// storeOf is the name of the datastore that a clone is to be in.
func storeOf(ctx *simulator.Context, to types.VirtualMachineRelocateSpec) string {
	if to.Datastore == nil {
		return ""
	}
	store, _ := ctx.Map.Get(*to.Datastore).(*simulator.Datastore)
	if store == nil {
		return ""
	}
	return store.Name
}

// hostFor chooses as DRS would: of the hosts that respond of the pool's cluster, the one on which the fewest machines run. It is nil when there is none.
func hostFor(ctx *simulator.Context, to types.VirtualMachineRelocateSpec) *types.ManagedObjectReference {
	if to.Host != nil || to.Pool == nil {
		return to.Host
	}
	pool, _ := ctx.Map.Get(*to.Pool).(*simulator.ResourcePool)
	if pool == nil {
		return nil
	}
	cluster, _ := ctx.Map.Get(pool.Owner).(*simulator.ClusterComputeResource)
	if cluster == nil {
		return nil
	}
	var best *simulator.HostSystem
	for _, ref := range cluster.Host {
		host, ok := ctx.Map.Get(ref).(*simulator.HostSystem)
		if ok && responds(host) && (best == nil || runOn(ctx, host) < runOn(ctx, best)) {
			best = host
		}
	}
	if best == nil {
		return nil
	}
	return &best.Self
}

// runOn returns how many machines run on a host.
func runOn(ctx *simulator.Context, host *simulator.HostSystem) int {
	n := 0
	for _, ref := range host.Vm {
		vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
		if ok && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			n++
		}
	}
	return n
}

// PowerOnVMTask implements the method of vSphere's API.
func (m *machine) PowerOnVMTask(ctx *simulator.Context, request *types.PowerOnVM_Task) soap.HasFault {
	answer, err := m.tell.of("powering-on", &m.VirtualMachine.VirtualMachine)
	switch {
	case err != nil:
		return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: fails(ctx, m, "powerOn", &types.SystemErrorFault{Reason: err.Error()})}}
	case answer.Refused:
		return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: fails(ctx, m, "powerOn", &types.NoCompatibleHost{})}}
	}
	return m.VirtualMachine.PowerOnVMTask(ctx, request)
}

// lost is a machine whose host has failed: nothing that is asked for comes to it.
type lost struct{ *simulator.VirtualMachine }

// PowerOnVMTask implements the method of vSphere's API.
func (l *lost) PowerOnVMTask(ctx *simulator.Context, _ *types.PowerOnVM_Task) soap.HasFault {
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: fails(ctx, l, "powerOn", &types.HostNotConnected{})}}
}

// PowerOffVMTask implements the method of vSphere's API.
func (l *lost) PowerOffVMTask(ctx *simulator.Context, _ *types.PowerOffVM_Task) soap.HasFault {
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: fails(ctx, l, "powerOff", &types.HostNotConnected{})}}
}

// DestroyTask implements the method of vSphere's API.
func (l *lost) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: fails(ctx, l, "destroy", &types.HostNotConnected{})}}
}

// fails returns a task that fails.
func fails(ctx *simulator.Context, of mo.Reference, what string, with types.BaseMethodFault) types.ManagedObjectReference {
	return simulator.CreateTask(of, what, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, with }).Run(ctx)
}
