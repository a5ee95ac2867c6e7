package main

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/rig"
)

// seed makes the clusters, with what their agents would have said last.
func (b *bench) seed(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for n := range b.clusters {
		group.Go(func() error {
			member := &v1alpha1.MemberCluster{ObjectMeta: metav1.ObjectMeta{
				Name:   fmt.Sprintf("cluster-%05d", n),
				Labels: map[string]string{"env": []string{"prod", "stage", "dev"}[n%3], "region": fmt.Sprintf("region-%02d", n%20), "team": fmt.Sprintf("team-%02d", n%37)},
			}}
			if err := b.client.Create(ctx, member); client.IgnoreAlreadyExists(err) != nil {
				return err
			} else if err != nil {
				return nil // of a run before
			}
			before := member.DeepCopy()
			member.Status = status(n, b.packages)
			return b.client.Status().Patch(ctx, member, client.MergeFrom(before)) // the gateway has said something of it by now
		})
	}
	return group.Wait()
}

func status(n, packages int) v1alpha1.MemberClusterStatus {
	now := metav1.Now()
	connected, ready, why := metav1.ConditionTrue, metav1.ConditionTrue, "every Package is applied"
	if n%50 == 0 {
		ready, why = metav1.ConditionFalse, "default/shop: 1 of 4 objects could not be applied"
	}
	if n%30 == 0 {
		connected = metav1.ConditionUnknown
	}
	s := v1alpha1.MemberClusterStatus{KubernetesVersion: fmt.Sprintf("v1.%d.4", 34+n%3), AgentVersion: "v0.9.0", LastSeen: &now}
	for kind, is := range map[string]metav1.ConditionStatus{v1alpha1.ConditionConnected: connected, v1alpha1.ConditionReady: ready, v1alpha1.ConditionSynced: ready} {
		s.Conditions = append(s.Conditions, metav1.Condition{Type: kind, Status: is, Reason: "Bench", Message: why, LastTransitionTime: now})
	}
	for p := range packages {
		s.Packages = append(s.Packages, v1alpha1.MemberPackage{
			Package: v1alpha1.KeyOf("default", fmt.Sprintf("package-%02d", p)), Release: fmt.Sprintf("package-%02d-1a2b3c4d", p), Phase: v1alpha1.PackageApplied,
			Objects: 4, Applied: 4, Healthy: 4, Since: now, Drifts: drifts(n, p),
		})
	}
	return s
}

// drifts are what somebody changed of the first package on every fifth cluster.
func drifts(n, p int) (all []v1alpha1.Drift) {
	if p > 0 || n%5 > 0 {
		return nil
	}
	for i := range 3 {
		at := metav1.NewTime(time.Now().Add(-time.Duration(n+i) * time.Second))
		all = append(all, v1alpha1.Drift{Object: fmt.Sprintf("Deployment.apps shop/web-%d", i), Action: v1alpha1.DriftRepaired, By: "kubectl-edit", Fields: []string{"spec.replicas"}, Time: at})
	}
	return all
}

// seedPackages makes the packages that the clusters hold, and their releases. Nobody renders or delivers them.
func (b *bench) seedPackages(ctx context.Context) error {
	placement := &v1alpha1.Placement{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "everywhere"}}
	if err := client.IgnoreAlreadyExists(b.client.Create(ctx, placement)); err != nil {
		return err
	}
	for p := range b.packages {
		pkg := &v1alpha1.Package{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("package-%02d", p)}}
		pkg.Spec.PlacementRef.Name = placement.Name
		pkg.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example.com/fleet.git", Path: pkg.Name}
		if err := client.IgnoreAlreadyExists(b.client.Create(ctx, pkg)); err != nil {
			return err
		}
		if err := b.client.Get(ctx, client.ObjectKeyFromObject(pkg), pkg); err != nil {
			return err
		}
		pkg.Status.Release = fmt.Sprintf("package-%02d-1a2b3c4d", p)
		pkg.Status.Clusters.Selected = int32(b.clusters)
		if err := b.client.Status().Update(ctx, pkg); err != nil {
			return err
		}
	}
	return nil
}

// seedWorkloads makes Deployments, in a namespace for each five hundred.
func (b *bench) seedWorkloads(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(32)
	for at := 0; at < b.workloads; at += 500 {
		group.Go(func() error {
			namespace := fmt.Sprintf("team-%03d", at/500)
			if err := client.IgnoreAlreadyExists(b.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})); err != nil {
				return err
			}
			for n := at; n < min(at+500, b.workloads); n++ {
				if err := client.IgnoreAlreadyExists(b.client.Create(ctx, deployment(namespace, n))); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// calm has the API's own controllers stand still until wake is called: they would look at each Deployment, which takes them longer than ten
// minutes, and is not of the lists.
func calm(kubeconfig string) (wake func(), err error) {
	pids, err := new(rig.Fleet).Processes("kube-controller-manager", filepath.Dir(kubeconfig))
	if err != nil {
		return nil, err
	}
	if len(pids) != 1 {
		return nil, fmt.Errorf("looking for the controller manager of %s: there are %d", kubeconfig, len(pids))
	}
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stopping the controller manager of %s: %w", kubeconfig, err)
	}
	return func() { _ = syscall.Kill(pids[0], syscall.SIGCONT) }, nil // it may have ended with its cluster
}

func deployment(namespace string, n int) *appsv1.Deployment {
	labels := map[string]string{"app": fmt.Sprintf("web-%06d", n)}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: labels["app"], Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "web", Image: "registry.example.com/shop/web:1.24.3", Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
				Env: []corev1.EnvVar{{Name: "GREETING", Value: "Welcome"}, {Name: "CURRENCY", Value: "EUR"}},
			}}}},
		},
	}
}
