package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/client"
	"umbel.dev/umbel/internal/cli/progress"
	"umbel.dev/umbel/internal/lifecycle/ascent"
)

// stage is one step of the way to a cluster: what it is called, and how far it is.
type stage struct {
	name string
	// reached says whether it is, and otherwise what is known of it.
	reached func(cluster *unstructured.Unstructured) (bool, string)
	// part is the condition of the Cluster in which Cluster API repeats what the part says that this waits for. One that refuses what was ordered
	// is not waited for.
	part string
}

// refused says why a cluster that is new will not get there, empty when nobody says so.
func (s stage) refused(cluster *unstructured.Unstructured) string {
	if said := conditionOf(cluster, s.part); s.part != "" && said.status == "False" && said.reason == infra.ReasonRefused {
		return said.message
	}
	return ""
}

var (
	placeStage = stage{name: "infrastructure", part: "InfrastructureReady", reached: func(c *unstructured.Unstructured) (bool, string) {
		done, _, _ := unstructured.NestedBool(c.Object, "status", "initialization", "infrastructureProvisioned")
		if reconciled := conditionOf(c, "TopologyReconciled"); reconciled.status == "False" {
			return done, reconciled.message
		}
		return done, conditionOf(c, "InfrastructureReady").message
	}}
	planeStage = stage{name: "control plane", part: "ControlPlaneAvailable", reached: func(c *unstructured.Unstructured) (bool, string) {
		done, _, _ := unstructured.NestedBool(c.Object, "status", "initialization", "controlPlaneInitialized")
		return done, conditionOf(c, "ControlPlaneAvailable").message
	}}
	membersStage = stage{name: "members of the control plane", reached: func(c *unstructured.Unstructured) (bool, string) {
		wanted := max(1, number(c, "spec", "topology", "controlPlane", "replicas"))
		has, there := number(c, "status", "controlPlane", "availableReplicas"), number(c, "status", "controlPlane", "replicas")
		return has == wanted && there == wanted, fmt.Sprintf("%d of %d are available", has, wanted)
	}}
)

// machinesStage is reached when each pool of a cluster has the machines that it is to have, and those of a pool that was taken from it have
// ended. The Cluster counts the machines of all pools together, and for a while after a change as they were before.
func machinesStage(ctx context.Context, hub kube.Reader, key kube.ObjectKey) stage {
	return stage{name: "machines", reached: func(c *unstructured.Unstructured) (bool, string) {
		deployments, err := list(ctx, hub, kind("MachineDeployment"), kube.InNamespace(key.Namespace), kube.MatchingLabels{"cluster.x-k8s.io/cluster-name": key.Name})
		if err != nil {
			return false, "its pools cannot be read: " + err.Error()
		}
		return manned(c, deployments)
	}}
}

// manned says whether the pools of a cluster have their machines, by the MachineDeployments that there are of it.
func manned(c *unstructured.Unstructured, deployments []unstructured.Unstructured) (bool, string) {
	of := map[string]*unstructured.Unstructured{}
	for i, d := range deployments {
		if pool := d.GetLabels()[ascent.PoolLabel]; pool != "" {
			of[pool] = &deployments[i]
		}
	}
	settled, wanted := true, int64(0)
	for _, p := range poolsOf(c) {
		least, most := p.Replicas, p.Replicas
		if p.Follows != nil {
			least, most = p.Follows.Min, p.Follows.Max
		}
		n := least
		if d := of[p.Name]; d != nil {
			n = number(d, "spec", "replicas")
			settled = settled && number(d, "status", "observedGeneration") == d.GetGeneration() &&
				number(d, "status", "replicas") == n && number(d, "status", "availableReplicas") == n
		} else {
			settled = settled && n == 0
		}
		settled = settled && n >= least && n <= most
		wanted += min(max(n, least), most)
		delete(of, p.Name)
	}
	settled = settled && len(of) == 0
	has, there := number(c, "status", "workers", "availableReplicas"), number(c, "status", "workers", "replicas")
	said := fmt.Sprintf("%d of %d are available", has, wanted)
	if !settled && has == wanted {
		said += ", and not all pools are as they are to be"
	}
	return settled && has == wanted && there == wanted, said
}

// follow shows how a cluster comes to be, until it is through all stages.
func follow(ctx context.Context, hub *client.Hub, view *progress.View, key kube.ObjectKey, stages ...stage) error {
	for _, s := range stages {
		refusals := 0
		err := view.Run(key.Name+": "+s.name, func(step *progress.Step) error {
			return until(ctx, step, func(ctx context.Context) (bool, string, error) {
				cluster, err := find(ctx, hub, key)
				if err != nil {
					return false, "", err
				}
				done, said := s.reached(cluster)
				if why := s.refused(cluster); why == "" || done {
					refusals = 0
				} else if refusals++; refusals > maxRefusals {
					return false, "", &refusedError{why}
				}
				return done, said, nil
			})
		})
		if refused, ok := errors.AsType[*refusedError](err); ok {
			return fmt.Errorf("cluster %s is not made as it was ordered: %w; `umbel cluster delete %s -n %s` takes the order back", key.Name, refused, key.Name, key.Namespace)
		}
		if err != nil {
			return fmt.Errorf("cluster %s is not as it is to be: %s: %w; it goes on by itself, and `umbel cluster describe %s -n %s` shows how far it is",
				key.Name, s.name, err, key.Name, key.Namespace)
		}
	}
	return nil
}

// maxRefusals are how many looks in a row what was ordered is waited for though its provider refuses it: the addresses of a cluster that ends just
// now are taken for some seconds more.
const maxRefusals = 50

// refusedError is the word of a provider on what was ordered.
type refusedError struct{ why string }

func (e *refusedError) Error() string { return e.why }

// joined waits until the cluster is connected as a member.
func joined(ctx context.Context, hub *client.Hub, view *progress.View, name string) error {
	err := view.Run(name+": member of the fleet", func(step *progress.Step) error {
		return until(ctx, step, func(ctx context.Context) (bool, string, error) {
			member := &v1alpha1.MemberCluster{}
			err := hub.Get(ctx, kube.ObjectKey{Name: name}, member)
			if apierrors.IsNotFound(err) {
				return false, "the fleet does not know it yet", nil
			}
			if err != nil {
				return false, "", err
			}
			connected := meta.FindStatusCondition(member.Status.Conditions, v1alpha1.ConditionConnected)
			if connected == nil {
				return false, "its agent has not come yet", nil
			}
			return meta.IsStatusConditionTrue(member.Status.Conditions, v1alpha1.ConditionConnected), connected.Message, nil
		})
	})
	if err != nil {
		return fmt.Errorf("cluster %s is not connected to the fleet: %w; its agent comes by itself, and `umbel describe cluster %s` shows how far it is", name, err, name)
	}
	return nil
}

// denials are how many times in a row somebody is asked again who may not, and could before.
const denials = 100

// until asks again and again until it is so, also of a hub that does not answer meanwhile: what is being made does not need who waits for it. The step,
// if there is one, shows what is known; when ctx ends, for whatever reason, the error says what was known last.
func until(ctx context.Context, step *progress.Step, is func(context.Context) (bool, string, error)) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	said, known, denied := "", false, 0
	for {
		done, now, err := is(ctx)
		switch {
		case err == nil && done:
			return nil
		case ctx.Err() != nil: // what came of the end of the time says nothing
		case err == nil:
			said, known, denied = now, true, 0
		case away(err):
			said, known, denied = err.Error(), true, 0
		case known && denied < denials && apierrors.IsForbidden(err): // an API server that starts serves before it knows who may what
			said, denied = err.Error(), denied+1
		default:
			return err
		}
		if step != nil {
			step.Note("%s", said)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("not in time: %s", said)
			}
			if said != "" {
				return fmt.Errorf("%w: %s", ctx.Err(), said)
			}
			return ctx.Err()
		}
	}
}

// away says whether an error is that nobody answered, or not now, or not to the end: the hub starts anew, or a line was cut.
func away(err error) bool {
	if _, another := errors.AsType[*tls.CertificateVerificationError](err); another { // it is none that will be this hub again
		return false
	}
	_, transport := errors.AsType[*url.Error](err)
	cut := strings.Contains(err.Error(), "error when reading response body") // client-go has no type for it
	return transport || cut || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err)
}
