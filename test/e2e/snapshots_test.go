//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/internal/lifecycle/local"
	"umbel.dev/umbel/test/rig"
)

// TestSnapshotsOfClusters is the runbook docs/operate/cluster-backups.md: a snapshot is taken, drilled, becomes a second cluster beside
// the first, and is what the first goes back to. Then that hibernates, and wakes.
func TestSnapshotsOfClusters(t *testing.T) {
	if err := local.CheckNodes(); err != nil {
		t.Fatal(err)
	}
	s := newStory(t, "--cluster", "edge", "--example=none")
	s.umbel("provider", "add", "local")
	s.eventually("the class is there", func(ctx context.Context) error {
		_, err := s.Umbel(ctx, "cluster", "create", "dev", "--dry-run")
		return err
	})
	timed := func(what string, args ...string) string {
		t.Helper()
		began := time.Now()
		out := s.umbel(args...)
		t.Logf("%s: %s", what, time.Since(began).Round(100*time.Millisecond))
		return out
	}
	timed("created", "cluster", "create", "dev", "--workers", "1")
	in := func(cluster string, args ...string) string {
		return s.umbel(append([]string{"kubectl", cluster, "--"}, args...)...)
	}
	in("dev", "create", "configmap", "kept", "--from-literal=a=b")
	if out := timed("snapshot", "cluster", "backup", "dev", "--to", "folder:dev"); !strings.HasPrefix(out, "dev/") {
		t.Errorf("it says %s", out)
	}
	in("dev", "delete", "configmap", "kept")
	in("dev", "create", "configmap", "later", "--from-literal=a=b")
	if out := timed("drill", "cluster", "drill", "dev"); !strings.Contains(out, "its API served") {
		t.Errorf("the drill found %s", out)
	}

	timed("copied", "cluster", "create", "copy", "--from-backup", "dev", "--workers", "1")
	s.had("copy")
	if out := in("copy", "get", "nodes", "-o", "name"); strings.Count(out, "node/") != 1 || strings.Contains(out, "node/dev-") {
		t.Errorf("the copy has the nodes\n%s", out)
	}
	s.runsAPod("copy", "own")
	if out := in("dev", "get", "configmap", "later", "-o", "name"); !strings.Contains(out, "later") {
		t.Errorf("the origin has %s", out)
	}
	s.umbel("cluster", "delete", "copy", "--yes")

	timed("restored", "cluster", "restore", "dev", "--yes")
	s.had("dev")
	s.runsAPod("dev", "own")

	timed("hibernated", "cluster", "hibernate", "dev")
	pids, err := s.inits(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if pid != 0 {
			t.Errorf("asleep, its machines run as %v", pids)
		}
	}
	s.eventually("the fleet says that it hibernates", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "get", "clusters")
		if err == nil && !strings.Contains(out, "Hibernated") {
			err = errors.New(out)
		}
		return err
	})
	timed("woken", "cluster", "wake", "dev")
	s.had("dev")
	in("dev", "wait", "pod/own", "--for=condition=Ready", "--timeout=60s")
	s.umbel("cluster", "delete", "dev", "--yes")
	s.nothingLeft()
	if out := s.umbel("cluster", "backups", "dev"); !strings.Contains(out, "dev/") { // it outlives the cluster
		t.Errorf("its snapshots are\n%s", out)
	}
	s.shell(rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + hub.AdminKubeconfig(s.Home) + " delete clusterbackup dev")
	s.umbel("provider", "remove", "local")
}

// had looks for what a cluster held when its snapshot was taken, and not for what came later.
func (s *story) had(cluster string) {
	s.Helper()
	s.eventually("it holds what it held", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "kubectl", cluster, "--", "get", "configmaps", "-o", "name")
		if err == nil && (!strings.Contains(out, "/kept") || strings.Contains(out, "/later")) {
			err = fmt.Errorf("it has\n%s", out)
		}
		return err
	})
}
