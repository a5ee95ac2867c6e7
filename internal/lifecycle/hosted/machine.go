package hosted

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/internal/lifecycle/local"
)

// machines are nodes.
type machines interface {
	// Machine returns a machine, whether it runs or not; *local.NotFoundError when there never was one of that name.
	Machine(h local.Hosted, node string) (local.Machine, error)
	// RaiseMachine brings it up, whatever is left of it, and returns when its kubelet has been started.
	RaiseMachine(ctx context.Context, h local.Hosted, node string) (local.Machine, error)
	// RenewMachine issues anew what is due of its certificates, while it runs, and returns when the first of all ends.
	RenewMachine(h local.Hosted, node string, now time.Time) (time.Time, error)
	// HaltMachine ends it in order, and keeps what it holds. It is no error when it does not run.
	HaltMachine(ctx context.Context, h local.Hosted, node string) error
	// AskKubelet says whether its kubelet answers, within seconds.
	AskKubelet(ctx context.Context, m local.Machine) error
	// LoseMachine ends what is left of one that has lost what it had, and takes its Node out of the cluster.
	LoseMachine(ctx context.Context, h local.Hosted, node string) error
	// EndMachine ends it and removes all of it. It is no error when there is none.
	EndMachine(ctx context.Context, h local.Hosted, node string) error
}

// machineController keeps LocalMachines running.
type machineController struct {
	frame
	host     machines
	versions []string
	raised   *raised
}

func (c *machineController) setup(m ctrl.Manager) error {
	kind := &infra.LocalMachine{TypeMeta: metav1.TypeMeta{APIVersion: infra.GroupVersion.String(), Kind: "LocalMachine"}}
	return c.watching(m, "localmachine", kind, clusterKind, machineKind).Complete(c)
}

// Reconcile has a machine run, or end.
func (c *machineController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &infra.LocalMachine{}
	if err := c.client.Get(ctx, req.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	f, alone, err := c.meet(ctx, object, &object.Status.Conditions)
	if alone || err != nil {
		return ctrl.Result{}, err
	}
	if f.falls() {
		if told, err := c.turn(ctx, object, f); told || err != nil {
			return ctrl.Result{}, err
		}
	}
	if !object.DeletionTimestamp.IsZero() {
		return c.end(ctx, object, f)
	}
	before := object.DeepCopy()
	ready, after := waiting(f.waits(needMachine, needCluster, needPlace, needData, needAPI)), time.Duration(0)
	if ready.Message == "" {
		if err := c.keep(ctx, object); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		ready, after, err = c.runOrSleep(ctx, object, f)
		if busy(err) {
			return ctrl.Result{RequeueAfter: soon}, nil
		}
		if err != nil {
			ready, after = failure(err)
		}
		before.Spec, before.ObjectMeta = object.Spec, object.ObjectMeta
	}
	set(&object.Status.Conditions, infra.ConditionReady, health(object, ready), object.Generation)
	return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
}

func (c *machineController) runOrSleep(ctx context.Context, object *infra.LocalMachine, f family) (metav1.Condition, time.Duration, error) {
	if f.hibernated() {
		c.raised.forget(object.UID)
		err := c.host.HaltMachine(ctx, f.hosted(object.Namespace), object.Name)
		return asleep("its cluster hibernates: what it holds is kept"), later, err
	}
	if waits, err := c.woken(ctx, object, f); err != nil || waits {
		return asleep("its cluster wakes: it starts when the API serves"), soon, err
	}
	return c.run(ctx, object, f)
}

// woken says whether a machine that hibernated waits for its control plane, by which it is registered.
func (c *machineController) woken(ctx context.Context, object *infra.LocalMachine, f family) (waits bool, err error) {
	was := meta.FindStatusCondition(object.Status.Conditions, infra.ConditionReady)
	if was == nil || was.Reason != infra.ReasonHibernated {
		return false, nil
	}
	var planes infra.HostedControlPlaneList
	if err := c.client.List(ctx, &planes, client.InNamespace(object.Namespace), client.MatchingLabels{clusterLabel: f.name}); err != nil {
		return false, err
	}
	for _, p := range planes.Items {
		waits = waits || !meta.IsStatusConditionTrue(p.Status.Conditions, infra.ConditionAvailable)
	}
	return waits, nil
}

// run has the machine run, and says by what it is known.
func (c *machineController) run(ctx context.Context, object *infra.LocalMachine, f family) (metav1.Condition, time.Duration, error) {
	h := f.hosted(object.Namespace)
	h.Version = field[string](f.machine, "spec", "version")
	h.Labels, h.Taints = f.nodeLabels(), f.nodeTaints()
	m, err := c.host.Machine(h, object.Name)
	_, missing := errors.AsType[*local.NotFoundError](err)
	if err != nil && !missing {
		return metav1.Condition{}, 0, err
	}
	if provisioned(object) && (missing || m.Lost) {
		c.raised.forget(object.UID)
		return lost(), later, c.host.LoseMachine(ctx, h, object.Name)
	}
	if m.PID == 0 { // what runs needs no build of its version: there may be none any more
		if err := checkVersion(h.Version, c.versions); err != nil {
			return metav1.Condition{}, 0, err
		}
	}
	if !missing { // before it is waited for: what it shows may have ended while nobody looked
		if err := c.renew(object, h); err != nil {
			return metav1.Condition{}, 0, err
		}
	}
	if !c.raised.is(object.UID, mark(m)) {
		if m, err = c.raise(ctx, object, h, m); err != nil {
			return metav1.Condition{}, 0, err
		}
	}
	if missing { // what is first said of it is whole
		if err := c.renew(object, h); err != nil {
			return metav1.Condition{}, 0, err
		}
	}
	if err := c.identify(ctx, object, local.ProviderID(h.Name, object.Name)); err != nil {
		return metav1.Condition{}, 0, err
	}
	object.Status.Initialization = &infra.Provisioning{Provisioned: new(true)}
	object.Status.FailureDomain = failureDomain
	object.Status.Addresses = []infra.MachineAddress{{Type: "InternalIP", Address: m.Address}, {Type: "Hostname", Address: m.Node}}
	if err := c.host.AskKubelet(ctx, m); err != nil {
		return silent(err), soon, nil
	}
	return serving("it runs; `ip netns exec " + m.Namespace + "` is inside of it"), later, nil
}

// renew has the certificates of what runs be valid.
func (c *machineController) renew(object *infra.LocalMachine, h local.Hosted) error {
	until, err := c.host.RenewMachine(h, object.Name, c.now())
	if busy(err) { // while its control plane is at work, what it has is good for long
		return nil
	}
	if err != nil {
		return fmt.Errorf("renewing its certificates: %w", err)
	}
	object.Status.CertificatesExpire = expiry(until)
	return nil
}

// raise brings the machine up, and says before that it is not there, if it was. It gives up when somebody deletes the machine meanwhile.
func (c *machineController) raise(ctx context.Context, object *infra.LocalMachine, h local.Hosted, m local.Machine) (local.Machine, error) {
	if m.PID == 0 && provisioned(object) {
		before := object.DeepCopy()
		set(&object.Status.Conditions, infra.ConditionReady, health(object, fallen()), object.Generation)
		if err := c.say(ctx, before, object); err != nil {
			return m, err
		}
	}
	raising, cancel := context.WithTimeout(ctx, raiseTime)
	defer cancel()
	stop := c.untilDeleted(raising, object, cancel)
	defer stop()
	m, err := c.host.RaiseMachine(raising, h, object.Name)
	if err == nil {
		c.raised.set(object.UID, mark(m))
	}
	return m, err
}

// untilDeleted calls then when an object is being deleted, unless what it returns is called before, which waits for the end of it.
func (c *machineController) untilDeleted(ctx context.Context, object client.Object, then func()) (stop func()) {
	ctx, done := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		tick := time.NewTicker(soon)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := object.DeepCopyObject().(client.Object)
			if err := c.client.Get(ctx, client.ObjectKeyFromObject(object), now); apierrors.IsNotFound(err) || err == nil && !now.GetDeletionTimestamp().IsZero() {
				then()
				return
			}
		}
	})
	return func() { done(); looking.Wait() }
}

// mark names the process of a machine, and what its control plane was restored to, since its Node may be gone by that; empty for one
// that does not run.
func mark(m local.Machine) string {
	if m.PID == 0 {
		return ""
	}
	return strconv.Itoa(m.PID) + " " + m.Restored
}

// identify writes the provider ID into the spec, once.
func (c *machineController) identify(ctx context.Context, object *infra.LocalMachine, id string) error {
	if object.Spec.ProviderID == id {
		return nil
	}
	changed := object.DeepCopy()
	changed.Spec.ProviderID = id
	if err := c.client.Patch(ctx, changed, client.MergeFrom(object)); err != nil {
		return fmt.Errorf("writing the provider ID: %w", err)
	}
	object.Spec, object.ObjectMeta = changed.Spec, changed.ObjectMeta
	return nil
}

// end ends the machine.
func (c *machineController) end(ctx context.Context, object *infra.LocalMachine, f family) (ctrl.Result, error) {
	before := object.DeepCopy()
	c.raised.forget(object.UID)
	if err := c.along(ctx, object.Namespace, f); err != nil {
		return ctrl.Result{}, err
	}
	if f.name != "" {
		if err := c.host.EndMachine(ctx, f.hosted(object.Namespace), object.Name); err != nil {
			if busy(err) {
				return ctrl.Result{RequeueAfter: soon}, nil
			}
			said, after := failure(fmt.Errorf("ending the machine: %w", err))
			set(&object.Status.Conditions, infra.ConditionReady, said, object.Generation)
			return ctrl.Result{RequeueAfter: after}, c.say(ctx, before, object)
		}
	}
	return ctrl.Result{}, c.let(ctx, object)
}
