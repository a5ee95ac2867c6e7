//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"umbel.dev/umbel/internal/hub"
	"umbel.dev/umbel/test/rig"
)

// goesBack is the runbook docs/operate/cluster-backups.md: a snapshot is taken, drilled, and is what the cluster goes back to. Then that
// hibernates, and meanwhile the snapshot becomes a second cluster, until the first one wakes. Its machines and its pods are there all the while. The
// hub dies in the restore, and while it falls asleep.
func (s *story) goesBack(cluster string, clusters []string) {
	s.Helper()
	page := runbook(s.T, "cluster-backups.md")
	timed := func(what string, page []string, containing string) string {
		s.Helper()
		began := time.Now()
		out, err := s.Shell(s.ctx, line(page, containing))
		if err != nil {
			tree, _ := s.Umbel(s.ctx, "cluster", "describe", strings.Fields(line(page, containing))[3]) // what failed is said below
			s.Fatalf("%v\n%s", err, tree)
		}
		s.Logf("%s in %s", what, time.Since(began).Round(100*time.Millisecond))
		return out
	}
	in := func(cluster string, args ...string) string {
		s.Helper()
		return s.umbel(append([]string{"kubectl", cluster, "--"}, args...)...)
	}
	in(cluster, "create", "configmap", "kept", "--from-literal=a=b")
	if out := timed("a snapshot", []string{"umbel cluster backup dev --to folder:dev"}, "backup"); !strings.HasPrefix(out, cluster+"/") {
		s.Errorf("it says %s", out)
	}
	in(cluster, "delete", "configmap", "kept")
	in(cluster, "create", "configmap", "later", "--from-literal=a=b")
	if out := timed("a drill", page, "cluster drill dev"); !strings.Contains(out, "its API served") {
		s.Errorf("the drill found %s", out)
	}

	began := time.Now()
	s.hubDiesAsItEnds(cluster, line(page, "cluster restore dev --yes"))
	s.Logf("a restore in place, in which the hub died, in %s", time.Since(began).Round(100*time.Millisecond))
	began = time.Now()
	s.had(cluster)
	s.Logf("its agent is back, with the objects of then, %s later", time.Since(began).Round(100*time.Millisecond))
	s.runsAPod(cluster, "own")

	s.hubDiesAsItEnds(cluster, line(clusters, "cluster hibernate dev"))
	pids, err := s.inits(s.ctx, cluster)
	if err != nil {
		s.Fatal(err)
	}
	for _, pid := range pids {
		if pid != 0 {
			s.Errorf("asleep, its machines run as %v", pids)
		}
	}
	s.eventually("the fleet says that it hibernates", func(ctx context.Context) error {
		out, err := s.Umbel(ctx, "get", "clusters")
		if err == nil && !strings.Contains(out, "Hibernated") {
			err = errors.New(out)
		}
		return err
	})
	// Beside each other they would take more machines than this story needs otherwise; the origin need not be there.
	timed("a copy that is a member, with a machine", page, "cluster create copy")
	s.had("copy")
	if out := in("copy", "get", "nodes", "-o", "name"); strings.Count(out, "node/") != 1 || strings.Contains(out, "node/"+cluster+"-") {
		s.Errorf("the copy has the nodes\n%s", out)
	}
	if out := in("copy", "get", "ipaddresspools", "-n", "metallb-system", "-o", "name"); out != "" {
		s.Errorf("the copy has its origin's addresses of Services: %s", out)
	}
	s.runsAPod("copy", "of-the-copy")
	s.umbel("cluster", "delete", "copy", "--yes")

	timed("waking, with its machines and its agent", clusters, "cluster wake dev")
	s.had(cluster)
	in(cluster, "wait", "pod/own", "--for=condition=Ready", "--timeout=180s")
	if out := in(cluster, "get", "pods", "-o", "name"); strings.Contains(out, "of-the-copy") {
		s.Errorf("the origin has what the copy was given: %s", out)
	}
}

// keepsSnapshots looks for those of a cluster that is deleted, and has no more be taken.
func (s *story) keepsSnapshots(cluster string) {
	s.Helper()
	if out := s.umbel("cluster", "backups", cluster); !strings.Contains(out, cluster+"/") {
		s.Errorf("its snapshots are\n%s", out)
	}
	s.shell(rig.Binary("umbel-kube") + " kubectl --kubeconfig=" + hub.AdminKubeconfig(s.Home) + " delete clusterbackup " + cluster)
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
