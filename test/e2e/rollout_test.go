//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
)

// TestRollout is a release that goes by stages on real clusters, a hub that is killed in the middle, a bad release that comes
// back by itself, and the runbook docs/operate/rollouts.md.
func TestRollout(t *testing.T) {
	s := newStory(t, "--nodes=0", "--example=none", "--cluster", "dev,env=dev", "--cluster", "prod-1,env=prod", "--cluster", "prod-2,env=prod", "--cluster", "prod-3,env=prod")
	everywhere := []string{"dev", "prod-1", "prod-2", "prod-3"}
	s.onHub(`patch membercluster dev --type=merge -p '{"spec":{"metrics":{"profile":"Standard"}}}'`) // for the gates
	s.motd("one", "")
	s.rolledOut(1, v1alpha1.RolloutCompleted)
	for _, cluster := range everywhere {
		s.holds(cluster, "default", "motd", "text", "one")
	}

	s.motd("two", "")
	s.eventually("the canary holds the second release", func(context.Context) error {
		if r := s.rollout(2); r.Status.Moved == 0 {
			return fmt.Errorf("it is %+v", r.Status)
		}
		return nil
	})
	if r := s.rollout(2); r.Status.Phase == v1alpha1.RolloutCompleted {
		t.Errorf("it is complete before the hub was killed: %+v", r.Status)
	}
	s.restartHub()
	s.rolledOut(2, v1alpha1.RolloutCompleted)
	for _, cluster := range everywhere {
		s.holds(cluster, "default", "motd", "text", "two")
	}
	s.packageSays("motd", v1alpha1.ConditionDelivered, "True")

	// The third is good in dev, and not in a cluster of production, where somebody has such an object already.
	s.umbel("kubectl", "prod-2", "--", "create", "configmap", "extra", "-n", "default", "--from-literal=text=mine")
	s.motd("three", `      - {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, namespace: default}, data: {text: ours}}
`)
	s.rolledOut(3, v1alpha1.RolloutRolledBack)
	s.rolledOut(4, v1alpha1.RolloutCompleted)
	for _, cluster := range everywhere {
		s.holds(cluster, "default", "motd", "text", "two")
	}
	s.holds("prod-2", "default", "extra", "text", "mine")
	if r := s.rollout(4); r.Spec.Purpose != v1alpha1.RolloutBack || r.Spec.Release != s.rollout(2).Spec.Release {
		t.Errorf("the way back: %+v", r.Spec)
	}
	s.packageSays("motd", v1alpha1.ConditionDelivered, "False", "the clusters are back on")
	if out := s.umbel("rollout", "history", "motd"); !strings.Contains(out, "RolledBack") || strings.Count(out, "Completed") != 3 {
		t.Errorf("the history:\n%s", out)
	}
	s.with("the runbook", func(s *story) {
		s.umbel("kubectl", "prod-2", "--", "delete", "configmap", "extra", "-n", "default")
		for i, block := range s.page("../../docs/operate/rollouts.md", 4) {
			if i == 2 { // nobody goes back from a way back: what was resumed is a rollout of its own
				s.eventually("what was resumed has begun", func(context.Context) error {
					if r := s.rollout(5); r.Spec.Purpose != v1alpha1.RolloutForward {
						return fmt.Errorf("it is %+v", r.Spec)
					}
					return nil
				})
			}
			s.try(block, len(block))
		}
	})
	s.with("a release that is ill where it came first goes no further", illReleases)
	s.with("a release goes on by what the clusters measure that have it", gatedReleases)
}

// gatedReleases asks the metrics that dev's agent sends: one release passes, and one that they speak against goes back. Those of production
// are not measured, so nobody asks about them.
func gatedReleases(s *story) {
	s.gated("good", "count(up == 1) > 0")
	s.rolledOutOf("gated", 1, v1alpha1.RolloutCompleted)
	s.gated("bad", "count(up == 1) > 1000")
	s.rolledOutOf("gated", 2, v1alpha1.RolloutRolledBack)
	s.rolledOutOf("gated", 3, v1alpha1.RolloutCompleted)
	if r := s.rolloutOf("gated", 2); r.Status.Moved != 1 || !strings.Contains(fmt.Sprint(r.Status.Conditions), "gate served of stage dev does not hold: count(up == 1) > 1000") {
		s.Errorf("rollout 2 reached %d clusters, want dev alone: %+v", r.Status.Moved, r.Status)
	}
	for _, cluster := range []string{"dev", "prod-1", "prod-2", "prod-3"} {
		s.holds(cluster, "default", "gated", "are", "good")
	}
}

// gated asks for a release of a Package whose first stage has a gate.
func (s *story) gated(are, query string) {
	s.Helper()
	err := s.manifest(`apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: gated, namespace: default}
spec:
  placementRef: {name: all}
  rollout:
    stages:
    - {name: dev, clusterSelector: {matchLabels: {env: dev}}, gates: [{name: served, query: "` + query + `"}]}
    - {name: prod, maxUnavailable: 3}
    progressDeadline: 1m
    onFailure: Rollback
  source:
    inline:
      objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: gated, namespace: default}, data: {are: ` + are + `}}
`)
	if err != nil {
		s.Fatal(err)
	}
}

// illReleases are two that are applied as they should be, and are not healthy: one by the Package's own rule, at once, the other
// because no pod of its StatefulSet starts in clusters without nodes, when its time is over. Production keeps what it has.
func illReleases(s *story) {
	s.manners("good", "")
	s.rolledOutOf("manners", 1, v1alpha1.RolloutCompleted)
	s.manners("bad", "")
	s.rolledOutOf("manners", 2, v1alpha1.RolloutRolledBack)
	s.rolledOutOf("manners", 3, v1alpha1.RolloutCompleted)
	s.manners("fair", `      - apiVersion: apps/v1
        kind: StatefulSet
        metadata: {name: manners, namespace: default}
        spec: `+workload+"\n")
	s.rolledOutOf("manners", 4, v1alpha1.RolloutRolledBack)
	s.rolledOutOf("manners", 5, v1alpha1.RolloutCompleted)
	for _, cluster := range []string{"dev", "prod-1", "prod-2", "prod-3"} {
		s.holds(cluster, "default", "manners", "are", "good")
	}
	for _, number := range []int64{2, 4} {
		if r := s.rolloutOf("manners", number); r.Status.Moved != 1 {
			s.Errorf("rollout %d reached %d clusters, want dev alone: %+v", number, r.Status.Moved, r.Status)
		}
	}
}

const workload = `{selector: {matchLabels: {app: manners}}, template: {metadata: {labels: {app: manners}}, spec: {containers: [{name: web, image: registry.umbel.dev/coredns:v1}]}}}`

// manners asks for a release of a Package that says itself what is ill.
func (s *story) manners(are, more string) {
	s.Helper()
	err := s.manifest(`apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: manners, namespace: default}
spec:
  placementRef: {name: all}
  deletes: {budget: 100%}
  health:
  - {group: apps, kind: Deployment, healthy: self.metadata.annotations.are != 'bad', failed: self.metadata.annotations.are == 'bad'}
  rollout:
    stages:
    - {name: dev, clusterSelector: {matchLabels: {env: dev}}}
    - {name: prod}
    progressDeadline: 30s
    onFailure: Rollback
  source:
    inline:
      objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: manners, namespace: default}, data: {are: ` + are + `}}
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: manners, namespace: default, annotations: {are: ` + are + `}}
        spec: ` + workload + "\n" + more)
	if err != nil {
		s.Fatal(err)
	}
}

// motd asks for a release of the package motd, with a text and perhaps more objects.
func (s *story) motd(text, more string) {
	s.Helper()
	err := s.manifest(`apiVersion: umbel.dev/v1alpha1
kind: Placement
metadata: {name: all, namespace: default}
spec: {clusterSelector: {}}
---
apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: motd, namespace: default}
spec:
  placementRef: {name: all}
  deletes: {budget: 100%}
  rollout:
    stages:
    - {name: dev, clusterSelector: {matchLabels: {env: dev}}, bake: 5s}
    - {name: prod, canary: 1, maxUnavailable: 1}
    progressDeadline: 2m
    onFailure: Rollback
  source:
    inline:
      objects:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: motd, namespace: default}, data: {text: ` + text + `}}
` + more)
	if err != nil {
		s.Fatal(err)
	}
}

// rollout returns one of the package motd.
func (s *story) rollout(number int64) *v1alpha1.Rollout { return s.rolloutOf("motd", number) }

// rolloutOf returns one of a package; an empty one when there is none.
func (s *story) rolloutOf(pkg string, number int64) *v1alpha1.Rollout {
	s.Helper()
	r := &v1alpha1.Rollout{}
	hub, err := s.Hub()
	if err == nil {
		err = client.IgnoreNotFound(hub.Get(s.ctx, client.ObjectKey{Namespace: "default", Name: v1alpha1.RolloutName(pkg, number)}, r))
	}
	if err != nil {
		s.T.Log(err) // the hub is being started again
	}
	return r
}

// rolledOut waits until a rollout of the package motd is in a phase.
func (s *story) rolledOut(number int64, phase v1alpha1.RolloutPhase) {
	s.rolledOutOf("motd", number, phase)
}

func (s *story) rolledOutOf(pkg string, number int64, phase v1alpha1.RolloutPhase) {
	s.Helper()
	s.eventually(fmt.Sprintf("rollout %d of %s is %s", number, pkg, phase), func(context.Context) error {
		if r := s.rolloutOf(pkg, number); r.Status.Phase != phase {
			return fmt.Errorf("it is %s: %+v", r.Status.Phase, r.Status.Conditions)
		}
		return nil
	})
}
