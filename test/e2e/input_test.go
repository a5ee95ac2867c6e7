//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"umbel.dev/umbel/api/v1alpha1"
	"umbel.dev/umbel/test/rig"
)

// footprint is what a fleet leaves on the computer, apart from its processes.
func footprint(t *testing.T) stock {
	t.Helper()
	return takeLocalStock(t, "no data folder")
}

// localCluster is a line of `umbel local list -o json`.
type localCluster struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Link      string `json:"link"`
}

func (s *story) locals() (clusters []localCluster) {
	s.Helper()
	if err := json.Unmarshal([]byte(s.umbel("local", "list", "-o", "json")), &clusters); err != nil {
		s.Fatal(err)
	}
	return clusters
}

// link is the host's end of a cluster's network link.
func (s *story) link(cluster string) string {
	s.Helper()
	for _, c := range s.locals() {
		if c.Name == cluster && c.Link != "" {
			return c.Link
		}
	}
	s.Fatalf("no link of %s", cluster)
	return ""
}

// killAgents ends the agents of this fleet's clusters, as kill -9 does.
func (s *story) killAgents() {
	s.Helper()
	pids, err := s.Processes("umbel-agent", "--dir=")
	if err != nil {
		s.Fatal(err)
	}
	killed := 0
	for _, pid := range pids {
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			continue // it has ended
		}
		for _, c := range s.locals() {
			if c.Namespace != "" && strings.Contains(string(groups), c.Namespace) && unix.Kill(pid, unix.SIGKILL) == nil {
				killed++
			}
		}
	}
	if killed == 0 {
		s.Fatal("no agent runs")
	}
}

// manifest applies YAML to the hub with kubectl and returns its error, if any.
func (s *story) manifest(yaml string) error {
	s.Helper()
	_, err := s.Shell(s.ctx, `umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" apply -f - <<'END'`+"\n"+yaml+"\nEND")
	return err
}

func (s *story) createPackage(name, path, placement string) {
	s.Helper()
	if err := s.manifest(s.packageYAML(name, "path: "+path, placement)); err != nil {
		s.Fatal(err)
	}
}

func (s *story) packageYAML(name, git, placement string) string {
	return fmt.Sprintf(`apiVersion: umbel.dev/v1alpha1
kind: Package
metadata: {name: %s, namespace: default}
spec:
  source:
    git:
      url: file://%s
      %s
  placementRef: {name: %s}
`, name, s.Repository(), git, placement)
}

func (s *story) deletePackage(name string) {
	s.Helper()
	s.shell(`umbel-kube kubectl --kubeconfig "$UMBEL_HOME/hub/admin.kubeconfig" delete package ` + name + ` --timeout=180s`)
}

// badInput makes the mistakes that people make, and looks for a clear answer where they would look.
func badInput(s *story) {
	s.with("a name taken twice", func(s *story) {
		s.refused([]string{"join", "prod-eu", "--kubeconfig", filepath.Join(s.Home, "local", "dev", "kubeconfig")}, "prod-eu", "taken", "umbel leave")
	})
	s.with("a kubeconfig that is not there", func(s *story) {
		s.refused([]string{"join", "other", "--kubeconfig", "/nowhere/kubeconfig"}, "/nowhere/kubeconfig")
		s.refused([]string{"get", "cluster", "other"}, "there is no cluster", "other") // nothing was left on the hub
	})
	s.with("a cluster that is not there", func(s *story) {
		s.refused([]string{"kubectl", "atlantis", "--", "get", "pods"}, "atlantis")
		s.refused([]string{"describe", "cluster", "atlantis"}, "there is no cluster", "atlantis")
	})
	s.with("a kind that is not there", func(s *story) { s.refused([]string{"get", "flowers"}, "flowers", "clusters") })
	s.with("a bad selector", func(s *story) {
		err := s.manifest("apiVersion: umbel.dev/v1alpha1\nkind: Placement\nmetadata: {name: bad, namespace: default}\n" +
			"spec: {clusterSelector: {matchExpressions: [{key: env, operator: Near, values: [prod]}]}}\n")
		if err != nil {
			s.Fatal(err)
		}
		s.eventually("the placement says so", func(ctx context.Context) error {
			out, err := s.Umbel(ctx, "describe", "placement", "bad")
			if err == nil && !(strings.Contains(out, "InvalidSelector") && strings.Contains(out, "Near")) {
				return fmt.Errorf("it says:\n%s", out)
			}
			return err
		})
		if err := s.manifest(s.packageYAML("nowhere", "path: shop", "bad")); err != nil {
			s.Fatal(err)
		}
		s.packageSays("nowhere", v1alpha1.ConditionPlaced, metav1.ConditionFalse, "bad")
		s.deletePackage("nowhere")
	})
	s.with("a placement that is not there", func(s *story) {
		s.createPackage("lost", "shop", "no-such-placement")
		s.packageSays("lost", v1alpha1.ConditionPlaced, metav1.ConditionFalse, "no-such-placement")
		s.deletePackage("lost")
	})
	s.with("a missing path", func(s *story) {
		s.createPackage("pathless", "no/such/path", "everywhere")
		s.packageSays("pathless", v1alpha1.ConditionReady, metav1.ConditionFalse, "no/such/path")
		s.deletePackage("pathless")
	})
	s.with("a missing branch", func(s *story) {
		if err := s.manifest(s.packageYAML("branchless", "ref: no-such-branch", "everywhere")); err != nil {
			s.Fatal(err)
		}
		s.packageSays("branchless", v1alpha1.ConditionFetched, metav1.ConditionFalse, "no-such-branch")
		s.deletePackage("branchless")
	})
	s.with("a path that leaves the repository", func(s *story) {
		if err := s.manifest(s.packageYAML("escape", "path: ../../etc", "everywhere")); err == nil || !strings.Contains(err.Error(), "does not leave it") {
			s.Errorf("the API does not refuse it: %v", err)
		}
	})
	s.with("an unknown kind", func(s *story) {
		s.commit("A kind that no cluster has", map[string]string{"odd/thing.yaml": "apiVersion: odd.example/v1\nkind: Thing\nmetadata: {name: t}\n"})
		s.createPackage("odd", "odd", "everywhere")
		s.describes("odd", "odd/thing.yaml", "Thing", "CustomResourceDefinition")
		s.deletePackage("odd")
	})
	s.with("a field that is not there", func(s *story) {
		s.commit("A field that Roles do not have", map[string]string{"odd/thing.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: t, namespace: default}\nruels: []\n"})
		s.createPackage("odd", "odd", "everywhere")
		s.describes("odd", "odd/thing.yaml", "default/t", "ruels")
		s.deletePackage("odd")
	})
	s.with("a variable that a cluster lacks", func(s *story) {
		s.commit("A label that only some have", map[string]string{"odd/thing.yaml": configMap("default", "thing", "tier", "${cluster.labels.tier}")})
		s.createPackage("odd", "odd", "everywhere")
		s.packageSays("odd", v1alpha1.ConditionRendered, metav1.ConditionFalse, "tier")
		s.umbel("label", "cluster", "dev", "tier=gold")
		s.holds("dev", "default", "thing", "tier", "gold")
		s.umbel("label", "cluster", "dev", "tier-")
		s.holds("dev", "default", "thing", "tier", "gold") // unknown is never empty
		s.deletePackage("odd")
	})
}

// pastedLines runs every line that `umbel up` prints as something to try, and those of the README.
func pastedLines(s *story) {
	var printed []string
	for line := range strings.Lines(s.umbel("up")) {
		if command, indented := strings.CutPrefix(line, "  "); indented {
			printed = append(printed, command)
		}
	}
	s.try(printed, 8)
	readme, err := os.ReadFile(filepath.Join(rig.Root(), "README.md"))
	if err != nil {
		s.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "## What to try\n\n```\n")
	block, _, _ := strings.Cut(rest, "```")
	s.try(strings.Split(strings.ReplaceAll(block, "~/.umbel", s.Home), "\n"), 8)
	s.hasNamespace("dev", "payments", false)
}

// try runs lines as somebody would who pastes them; there have to be at least that many.
func (s *story) try(lines []string, atLeast int) {
	s.Helper()
	ran := 0
	for _, line := range lines {
		if line = strings.TrimSpace(line); line == "" || strings.HasSuffix(line, " down") {
			continue // away with all of it: that is the last part of the story
		}
		s.eventually(line, func(ctx context.Context) error { // right after the role was deleted, it may not be back yet
			_, err := s.Shell(ctx, line)
			if err != nil && !strings.Contains(line, "get role") {
				s.Fatal(err)
			}
			return err
		})
		ran++
	}
	if ran < atLeast {
		s.Errorf("only %d lines to try: %q", ran, lines)
	}
}
