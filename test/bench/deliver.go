package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/rig"
)

// everything is a Package with all that delivery has switched on: its objects wait for another Package and for each other,
// their health has a rule, fields are left to others, deletes have a budget, clusters have their turn in a rollout, and who
// is not named is kept from changing anything. The benchmark is named: it is to change something, after all.
const everything = `apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: %[1]s, namespace: default}
spec:
  source: {git: {url: "file://%[2]s", path: %[3]s%[5]s}}
  %[6]s
  placementRef: {name: everywhere}
  dependsOn: [{name: baseline}]
  deletes: {budget: 5%%}
  rollout: {stages: [{name: all, clusterSelector: {}, maxUnavailable: 100%%%[7]s}]}
  drift:
    prevention: Deny
    allow: {groups: [%[4]s]}
    ignore: [{target: {group: apps, kind: Deployment}, jsonPointers: [/spec/replicas]}]
  health: [{group: apps, kind: Deployment, healthy: self.status.observedGeneration == self.metadata.generation}]
---
`

// last is a workload that comes after an object of its package, and has a health of its own. No pod of it runs: a kubelet
// that pulls an image is not what is measured.
const last = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
  namespace: %[2]s
  annotations: {umbel.dev/depends-on: "ConfigMap %[2]s/%[3]s"}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: nothing, image: registry.invalid/nothing}]}
`

// packages are the names of the packages, which are those of their folders as well.
func (s *site) packages() []string {
	if s.shares == 1 {
		return []string{s.name}
	}
	names := make([]string, s.shares)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%02d", s.name, i)
	}
	return names
}

// files are the repository's. The namespace is of the package that has it for itself.
func (s *site) files() map[string]string {
	files := map[string]string{}
	if s.shares == 1 {
		files[s.name+"/namespace.yaml"] = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + s.name + "\n"
	}
	each := s.n / s.shares
	for i, folder := range s.packages() {
		files[folder+"/last.yaml"] = fmt.Sprintf(last, folder, s.name, objectName(i*each))
		for j := range each {
			name := objectName(i*each + j)
			files[folder+"/"+name+".yaml"] = string(manifest(s.name, name))
		}
	}
	return files
}

// packageRate applies the objects as packages, and returns the rate and the time from their creation to their being applied.
// Of several packages the cluster is told when all of them are rendered, and planned where they have to be: what is measured is an agent that has
// all of them to apply, and not a hub that has yet to render the later ones on the same two cores.
func (s *site) packageRate(ctx context.Context) (rate float64, whole time.Duration, err error) {
	if s.shares > 1 {
		if err := (bare{client: s.client, namespace: s.name}).create(ctx); err != nil && !apierrors.IsAlreadyExists(err) {
			return 0, 0, err
		}
	}
	if err := s.fleet.Commit(ctx, s.label("commit"), s.files()); err != nil {
		return 0, 0, err
	}
	watching, err := observe(ctx, s.client, s.name)
	if err != nil {
		return 0, 0, err
	}
	defer watching.stop()
	hold, release := s.held()
	if err := hold(ctx); err != nil {
		return 0, 0, err
	}
	var text strings.Builder
	source, more, approvals := "", "", ""
	if s.strict {
		source, more = signedSource, planned
	}
	if s.approved() {
		approvals = ", approvals: [Before]"
	}
	for _, name := range s.packages() {
		fmt.Fprintf(&text, everything, name, s.fleet.Repository(), name, strconv.Quote(v1alpha1.AdminGroup), source, more, approvals)
	}
	start := time.Now()
	_, err = s.fleet.Shell(ctx, fmt.Sprintf("umbel-kube kubectl --kubeconfig \"$UMBEL_HOME/hub/admin.kubeconfig\" apply -f - <<'YAML'\n%sYAML", text.String()))
	if err != nil {
		return 0, 0, err
	}
	if err := s.plan(ctx); err != nil {
		return 0, 0, err
	}
	if err := release(ctx); err != nil {
		return 0, 0, err
	}
	if err := s.awaitApplied(ctx); err != nil {
		return 0, 0, err
	}
	whole = time.Since(start)
	count, within := watching.added()
	return float64(count) / within.Seconds(), whole, nil
}

// held returns how the cluster is kept from what several packages hold, and how it is told of all of them. It is suspended meanwhile; where a plan has to
// ask it, rollouts wait to be approved.
func (s *site) held() (hold, release func(context.Context) error) {
	nothing := func(context.Context) error { return nil }
	switch {
	case s.approved():
		return nothing, s.approve
	case s.shares == 1:
		return nothing, nothing
	}
	hold = func(ctx context.Context) error {
		_, err := s.fleet.Umbel(ctx, "suspend", "bench")
		return err
	}
	release = func(ctx context.Context) error {
		if err := s.awaitRendered(ctx); err != nil {
			return err
		}
		_, err := s.fleet.Umbel(ctx, "resume", "bench")
		return err
	}
	return hold, release
}

// approved says whether rollouts wait to be approved.
func (s *site) approved() bool { return s.strict && s.shares > 1 }

// approve approves the rollouts of all packages, once each has one.
func (s *site) approve(ctx context.Context) error {
	hub, err := s.fleet.Hub()
	if err != nil {
		return err
	}
	return rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error {
		var list v1alpha1.RolloutList
		if err := hub.List(ctx, &list, kube.InNamespace("default")); err != nil {
			return err
		}
		waiting := map[string]*v1alpha1.Rollout{}
		for i := range list.Items {
			waiting[list.Items[i].Spec.PackageRef.Name] = &list.Items[i]
		}
		for _, name := range s.packages() {
			if waiting[name] == nil {
				return fmt.Errorf("package %s has no Rollout", name)
			}
		}
		group, ctx := errgroup.WithContext(ctx) // one after the other would take as long as the first of them to be applied
		group.SetLimit(parallel)
		for _, name := range s.packages() {
			if r := waiting[name]; len(r.Spec.Approvals) == 0 {
				r.Spec.Approvals = []v1alpha1.RolloutApproval{{Stage: "all", Point: v1alpha1.ApproveBefore}}
				group.Go(func() error { return hub.Update(ctx, r) })
			}
		}
		return group.Wait()
	})
}

// awaitRendered waits until every package has a Release.
func (s *site) awaitRendered(ctx context.Context) error {
	hub, err := s.fleet.Hub()
	if err != nil {
		return err
	}
	return rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error {
		var list v1alpha1.PackageList
		if err := hub.List(ctx, &list, kube.InNamespace("default")); err != nil {
			return err
		}
		for _, pkg := range list.Items {
			if pkg.Status.Release == "" {
				return fmt.Errorf("package %s has no Release", pkg.Name)
			}
		}
		return nil
	})
}

// awaitApplied waits until the cluster holds every package. It watches: to ask again and again would take the processor from
// what is measured.
func (s *site) awaitApplied(ctx context.Context) error {
	hub, err := s.fleet.Hub()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("not all packages were applied within ten minutes"))
	defer cancel()
	why := errors.New("the hub says nothing of the cluster")
	for ctx.Err() == nil {
		watching, err := hub.Watch(ctx, &v1alpha1.MemberClusterList{}, kube.MatchingFields{"metadata.name": "bench"})
		if err != nil {
			return err
		}
		for event := range watching.ResultChan() {
			if mc, ok := event.Object.(*v1alpha1.MemberCluster); ok {
				if why = s.applied(mc); why == nil {
					watching.Stop()
					return nil
				}
			}
		}
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), why)
}

// applied says which package the cluster does not hold yet.
func (s *site) applied(mc *v1alpha1.MemberCluster) error {
	missing := map[v1alpha1.PackageKey]string{}
	for _, name := range s.packages() {
		missing[v1alpha1.KeyOf("default", name)] = "not told"
	}
	for _, p := range mc.Status.Packages {
		if p.Phase == v1alpha1.PackageApplied && len(p.Failures) == 0 && p.Applied == p.Objects {
			delete(missing, p.Package)
		} else if missing[p.Package] != "" {
			missing[p.Package] = fmt.Sprintf("%s: %s %v", p.Phase, p.Message, p.Failures)
		}
	}
	for name, why := range missing {
		return fmt.Errorf("package %s is not applied: %s", name, why)
	}
	return nil
}

// revision is the newest commit.
func (s *site) revision(ctx context.Context) (string, error) {
	revision, err := s.fleet.Shell(ctx, "git -C '"+s.fleet.Repository()+"' rev-parse HEAD")
	return strings.TrimSpace(revision), err
}

// awaitRevision waits until the cluster holds the newest commit of the first package, and the Package says so.
func (s *site) awaitRevision(ctx context.Context) error {
	revision, err := s.revision(ctx)
	if err != nil {
		return err
	}
	hub, err := s.fleet.Hub()
	if err != nil {
		return err
	}
	return rig.Eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		var pkg v1alpha1.Package
		if err := hub.Get(ctx, types.NamespacedName{Namespace: "default", Name: s.packages()[0]}, &pkg); err != nil {
			return err
		}
		if pkg.Status.Revision != revision || pkg.Status.Clusters.Ready == 0 {
			return fmt.Errorf("package %s is at %s, not at %s, with %d clusters ready", pkg.Name, pkg.Status.Revision, revision, pkg.Status.Clusters.Ready)
		}
		return nil
	})
}
