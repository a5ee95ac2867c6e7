package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	infra "umbel.dev/umbel/api/infrastructure/v1alpha1"
	"umbel.dev/umbel/test/report"
	"umbel.dev/umbel/test/rig"
)

// measureSnapshot measures what becomes of a cluster that the hub made, with a machine and so many objects: its snapshot, the drill of it,
// the way back to it, sleep and waking. Each time is that of the command, which returns when all of it is done.
func measureSnapshot(ctx context.Context, fleet *rig.Fleet, r *report.Report) error {
	const objects = 10000
	if err := prepareSnapshot(ctx, fleet, objects); err != nil {
		return err
	}
	client, err := fleet.Clients("bench")
	if err != nil {
		return err
	}
	of := func(what string) string { return fmt.Sprintf("%s, %d objects", what, objects) }
	timed := func(what string, args ...string) error {
		begun := time.Now()
		if _, err := fleet.Umbel(ctx, args...); err != nil {
			return err
		}
		r.Lower(of(what), time.Since(begun).Seconds(), "s", 0)
		return nil
	}
	if err := snapshotMemory(fleet, r, of("before")); err != nil {
		return err
	}
	if err := timed("snapshot to a folder", "cluster", "backup", "bench", "--to", "folder:bench"); err != nil {
		return err
	}
	if err := snapshotSize(ctx, fleet, r, of("snapshot")); err != nil {
		return err
	}
	if err := timed("drill: fetched, restored beside, counted, removed", "cluster", "drill", "bench"); err != nil {
		return err
	}
	if _, err := client.CoreV1().ConfigMaps("bench").Patch(ctx, objectName(0), "application/merge-patch+json", []byte(`{"data":{"v":"later"}}`), metav1.PatchOptions{}); err != nil {
		return err
	}
	begun := time.Now()
	if err := timed("restore in place", "cluster", "restore", "bench", "--yes"); err != nil {
		return err
	}
	if err := comesBack(ctx, fleet, client); err != nil {
		return err
	}
	r.Lower(of("restore in place, until its agent answers kubectl"), time.Since(begun).Seconds(), "s", 0)
	if err := holdsAll(ctx, client, objects); err != nil {
		return err
	}
	if err := timed("hibernate", "cluster", "hibernate", "bench"); err != nil {
		return err
	}
	if err := timed("wake: control plane, machine and agent", "cluster", "wake", "bench"); err != nil {
		return err
	}
	return snapshotMemory(fleet, r, of("woken"))
}

// prepareSnapshot makes the cluster, and the objects in it.
func prepareSnapshot(ctx context.Context, fleet *rig.Fleet, objects int) error {
	for _, args := range [][]string{{"up", "--cluster", "edge", "--example=none"}, {"provider", "add", "local"}} {
		if _, err := fleet.Umbel(ctx, args...); err != nil {
			return err
		}
	}
	if err := rig.Eventually(ctx, time.Minute, func(ctx context.Context) error {
		quiet := *fleet
		quiet.Log = io.Discard
		_, err := quiet.Umbel(ctx, "cluster", "create", "bench", "--dry-run")
		return err
	}); err != nil {
		return err
	}
	if _, err := fleet.Umbel(ctx, "cluster", "create", "bench", "--workers", "1"); err != nil {
		return err
	}
	client, err := fleet.Clients("bench")
	if err != nil {
		return err
	}
	fill := bare{client: client, namespace: "bench"}
	if err := fill.create(ctx); err != nil {
		return err
	}
	_, err = fill.applyAll(ctx, objects)
	return err
}

// comesBack returns when the cluster holds what it held, asked through its agent.
func comesBack(ctx context.Context, fleet *rig.Fleet, client kubernetes.Interface) error {
	return rig.Eventually(ctx, time.Minute, func(ctx context.Context) error {
		got, err := fleet.Umbel(ctx, "kubectl", "bench", "--", "get", "configmap", "-n", "bench", objectName(0), "-o", "jsonpath={.data.v}")
		if err == nil && got != "1" {
			err = fmt.Errorf("it holds %q", got)
		}
		return err
	})
}

// holdsAll counts the objects.
func holdsAll(ctx context.Context, client kubernetes.Interface, objects int) error {
	all, err := client.CoreV1().ConfigMaps("bench").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	found := 0
	for _, o := range all.Items {
		if strings.HasPrefix(o.Name, "object-") {
			found++
		}
	}
	if found != objects {
		return fmt.Errorf("after the restore it holds %d objects, and not %d", found, objects)
	}
	return nil
}

// snapshotSize says how large the newest snapshot is.
func snapshotSize(ctx context.Context, fleet *rig.Fleet, r *report.Report, what string) error {
	out, err := fleet.Umbel(ctx, "cluster", "backups", "bench", "-o", "json")
	if err != nil {
		return err
	}
	var all []struct{ Snapshot infra.ClusterSnapshot }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("the snapshots of the cluster are %s", out)
	}
	r.Lower(what+", size", float64(all[0].Snapshot.Size)/(1<<20), "MiB", 0)
	return nil
}

// snapshotMemory measures the processes of the control plane.
func snapshotMemory(fleet *rig.Fleet, r *report.Report, what string) error {
	for _, process := range []string{"etcd", "kube-apiserver"} {
		pid, err := planeProcess(fleet, process)
		if err != nil {
			return err
		}
		m, err := rig.MemoryOf(pid)
		if err != nil {
			return err
		}
		r.Lower(fmt.Sprintf("%s RSS, %s", process, what), m.Now, "MiB", 0)
		r.Lower(fmt.Sprintf("%s RSS, peak, %s", process, what), m.Peak, "MiB", 0)
	}
	return nil
}

// planeProcess returns the process of the cluster's control plane that runs a part of umbel-kube.
func planeProcess(fleet *rig.Fleet, part string) (int, error) {
	all, err := fleet.Processes(filepath.Join(fleet.Home, "local", "bench"))
	if err != nil {
		return 0, err
	}
	for _, pid := range all {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		if args := strings.Split(string(line), "\x00"); len(args) > 1 && args[1] == part {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("the control plane of cluster bench has no process %s", part)
}
