package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kube "sigs.k8s.io/controller-runtime/pkg/client"

	"umbel.dev/umbel/internal/lifecycle/capi"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// measureManyClusters times so many clusters that a hub makes by Cluster API, all at once, by its provider for development, whose machines are nothing
// but memory: each with a control plane and workers, and what hub, Cluster API, the provider and the hub's own API take for them.
func measureManyClusters(ctx context.Context, fleet *rig.Fleet, r *report.Report, manyClusters int) error {
	err := prepareLifecycle(ctx, fleet, "dev", "--command", rig.Binary("capd"), "--components", rig.Binary("capd.yaml"), "--", "--feature-gates=ClusterTopology=true")
	if err != nil {
		return err
	}
	api, err := fleet.Hub()
	if err != nil {
		return err
	}
	objects, err := inMemory()
	if err != nil {
		return err
	}
	for _, o := range objects[:len(objects)-1] {
		if err := api.Create(ctx, o); err != nil {
			return err
		}
	}
	pattern := objects[len(objects)-1]
	before, err := lifecycleUsage(fleet)
	if err != nil {
		return err
	}
	start := time.Now()
	for i := range manyClusters {
		cluster := pattern.DeepCopy()
		cluster.SetName(fmt.Sprintf("memory-%d", i))
		if err := api.Create(ctx, cluster); err != nil {
			return err
		}
	}
	of := func(what string) string { return fmt.Sprintf("%d clusters in memory: %s", manyClusters, what) }
	r.Lower(of("created"), time.Since(start).Seconds(), "s", 0)
	if err := awaitClusters(ctx, api, manyClusters, available); err != nil {
		return err
	}
	r.Lower(of("all available"), time.Since(start).Seconds(), "s", 0)
	after, err := lifecycleUsage(fleet)
	if err != nil {
		return err
	}
	for _, name := range lifecycleProcesses {
		r.Lower(of(name+", processor"), after[name].cpu-before[name].cpu, "s", 0)
		r.Lower(of(name+", RSS"), after[name].memory, "MiB", 0)
	}
	start = time.Now()
	clusters := clusterList()
	if err := api.List(ctx, clusters, kube.InNamespace(metav1.NamespaceDefault)); err != nil {
		return err
	}
	for _, c := range clusters.Items {
		if err := api.Delete(ctx, &c); err != nil {
			return err
		}
	}
	if err := awaitClusters(ctx, api, 0, available); err != nil {
		return err
	}
	r.Lower(of("all deleted"), time.Since(start).Seconds(), "s", 0)
	return nil
}

// inMemory returns a class of clusters in memory with what it is made of, and as the last a cluster of it.
func inMemory() (objects []*unstructured.Unstructured, err error) {
	for _, file := range []string{"class.yaml", "cluster.yaml"} {
		raw, err := os.ReadFile(filepath.Join(rig.Root(), "internal", "lifecycle", "capi", "testdata", file))
		if err != nil {
			return nil, err
		}
		more, err := capi.Parse(raw)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	for _, o := range objects {
		o.SetNamespace(metav1.NamespaceDefault)
	}
	return objects, nil
}

func clusterList() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: "cluster.x-k8s.io", Version: "v1beta2", Kind: "ClusterList"})
	return list
}

// awaitClusters waits until there are so many clusters, and each is as it should be.
func awaitClusters(ctx context.Context, api kube.Client, want int, is func(unstructured.Unstructured) bool) error {
	begun, said := time.Now(), time.Time{}
	return rig.Eventually(ctx, time.Hour, func(ctx context.Context) error {
		defer pause(ctx, time.Second) //nolint:errcheck // whoever waits for all looks at ctx
		list := clusterList()
		if err := api.List(ctx, list, kube.InNamespace(metav1.NamespaceDefault)); err != nil {
			return err
		}
		good := 0
		for _, c := range list.Items {
			if is(c) {
				good++
			}
		}
		if time.Since(said) > 20*time.Second {
			said = time.Now()
			fmt.Fprintf(os.Stderr, "  %d clusters, %d available, after %s\n", len(list.Items), good, time.Since(begun).Round(time.Second))
		}
		if len(list.Items) != want || good != want {
			return fmt.Errorf("of %d clusters %d are available, not %d", len(list.Items), good, want)
		}
		return nil
	})
}

func available(cluster unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(cluster.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Available" && c["status"] == "True" {
			return true
		}
	}
	return false
}

type usage struct{ cpu, memory float64 }

// lifecycleProcesses are those that make clusters, by a name for people.
var lifecycleProcesses = []string{"hub", "Cluster API", "provider", "garbage collector", "hub's API server", "hub's etcd"}

// lifecycleUsage is what they have used.
func lifecycleUsage(fleet *rig.Fleet) (map[string]usage, error) {
	found := map[string]usage{}
	for i, words := range [][]string{{"umbel hub"}, {"umbel-capi"}, {"providers/dev/program"}, {"kube-controller-manager", "/hub/"}, {"kube-apiserver", "/hub/"}, {"etcd", "/hub/"}} {
		pids, err := fleet.Processes(append(words, fleet.Home)...)
		if err == nil && len(pids) == 0 {
			err = errors.New("there is none")
		}
		if err != nil {
			return nil, fmt.Errorf("looking for the process %v: %w", words, err)
		}
		cpu, err := rig.CPUOf(pids[0])
		if err != nil {
			return nil, err
		}
		memory, err := rig.MemoryOf(pids[0])
		if err != nil {
			return nil, err
		}
		found[lifecycleProcesses[i]] = usage{cpu, memory.Now}
	}
	return found, nil
}
