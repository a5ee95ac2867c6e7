package main

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/internal/cli/measured"
	"umbel.dev/umbel/internal/lifecycle/local/machine"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

const (
	// measuredPods are how many pods there are, beside those that every cluster has, and measuredFor how long it is looked at what that costs.
	measuredPods, measuredFor = 50, 2 * time.Minute
	measuredName              = "measured"
)

// measureMeasured measures what it costs an agent to measure a cluster of one real node and 50 real pods, by each profile.
func measureMeasured(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	if _, err := fleet.Umbel(ctx, "down"); err != nil { // others would have a part of the processors
		return err
	}
	if _, err := fleet.Umbel(ctx, "up", "--cluster", measuredName+",env=bench", "--example=none", "--nodes=1"); err != nil {
		return err
	}
	if err := fillNode(ctx, fleet); err != nil {
		return err
	}
	agent, err := one(agentsOf(fleet, measuredName))
	if err != nil {
		return fmt.Errorf("looking for the agent's process: %w", err)
	}
	web, at, err := fleet.Door()
	if err != nil {
		return err
	}
	asked := measured.At(web, at)
	for _, profile := range []v1alpha1.MetricsProfile{v1alpha1.MetricsOff, v1alpha1.MetricsMinimal, v1alpha1.MetricsStandard, v1alpha1.MetricsFull} {
		series, err := profiled(ctx, fleet, asked, profile)
		if err != nil {
			return fmt.Errorf("profile %s: %w", profile, err)
		}
		before, err := rig.CPUOf(agent)
		if err != nil {
			return err
		}
		select {
		case <-time.After(measuredFor):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := rig.CPUOf(agent)
		if err != nil {
			return err
		}
		memory, err := rig.MemoryOf(agent)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%d pods, profile %s: ", measuredPods, profile)
		r.Lower(what+"series", series, "", 0)
		r.Lower(what+"agent CPU", (after-before)/measuredFor.Seconds(), "cores", 0)
		r.Lower(what+"agent RSS", memory.Now, "MiB", 0)
		r.Lower(what+"agent RSS, peak so far", memory.Peak, "MiB", goalMemory)
	}
	return nil
}

// fillNode starts the pods, and returns when all run.
func fillNode(ctx context.Context, fleet *rig.Fleet) error {
	client, err := fleet.Clients(measuredName)
	if err != nil {
		return err
	}
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: measuredName}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	labels := map[string]string{"app": measuredName}
	_, err = client.AppsV1().Deployments(measuredName).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: measuredName},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(measuredPods)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "pause", Image: machine.PauseImage, ImagePullPolicy: corev1.PullNever}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return rig.Eventually(ctx, 5*time.Minute, func(ctx context.Context) error {
		now, err := client.AppsV1().Deployments(measuredName).Get(ctx, measuredName, metav1.GetOptions{})
		if err == nil && now.Status.AvailableReplicas != measuredPods {
			err = fmt.Errorf("%d of %d pods are there", now.Status.AvailableReplicas, measuredPods)
		}
		return err
	})
}

// profiled has the cluster be measured by a profile, and returns how many series it has once the hub has all of them.
func profiled(ctx context.Context, fleet *rig.Fleet, asked *measured.Asker, profile v1alpha1.MetricsProfile) (series float64, err error) {
	api, err := fleet.Hub()
	if err != nil {
		return 0, err
	}
	var member v1alpha1.MemberCluster
	if err := api.Get(ctx, kube.ObjectKey{Name: measuredName}, &member); err != nil {
		return 0, err
	}
	before := member.DeepCopy()
	member.Spec.Metrics = &v1alpha1.MemberMetrics{Profile: profile}
	if err := api.Patch(ctx, &member, kube.MergeFrom(before)); err != nil || profile == v1alpha1.MetricsOff {
		return 0, err
	}
	running := map[v1alpha1.MetricsProfile]string{
		v1alpha1.MetricsMinimal:  `sum(umbel_pods{phase="Running",namespace=""})`,
		v1alpha1.MetricsStandard: `count(pod_memory_working_set_bytes{namespace="` + measuredName + `"})`,
		v1alpha1.MetricsFull:     `count(container_memory_rss{namespace="` + measuredName + `",container="pause"})`,
	}[profile]
	err = rig.Eventually(ctx, 2*time.Minute, func(ctx context.Context) error {
		pods, err := asked.Query(ctx, running, nil)
		if err == nil && (len(pods) != 1 || pods[0].Value < measuredPods) {
			err = fmt.Errorf("the hub has %v of the pods", pods)
		}
		if err != nil {
			return err
		}
		all, err := asked.Query(ctx, `count({job=~".+"})`, nil)
		if err == nil && len(all) == 1 {
			series = all[0].Value
		}
		return err
	})
	return series, err
}
